"""The picture below the sliders: one metric in its band, and what would have been told. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alerting.model import Metric
from alerting.plots.pictures import Picture, band
from alerting.plots.scales import HOUR
from alerting.plots.studies import SHADE, Stretch


def told(metric: Metric, judged: pd.DataFrame, zone: str, spans: Sequence[Stretch]) -> Picture:
    """Judged buckets in their band; what would have been told is shaded."""
    picture = band(metric, judged, zone, inches=(10, 3.2))
    axes, start = picture.axes[0], judged.index[0]
    left, right = axes.get_xlim()
    for span in spans:
        first, last = (float((at - start) / HOUR) for at in (span.start, span.end))
        axes.axvspan(max(first, left), min(last, right), color=SHADE, zorder=0)
    return picture
