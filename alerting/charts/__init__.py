"""Judged buckets in, Figure out: the alert's picture, the run's overview, a band over any span. Pure; never pyplot.

`judged` has an aware UTC index `bucket` and the columns value, low, expected, high, status (as `detectors.judge` gives).
"""

from alerting.charts.alert import alert_chart, band_chart, overview_chart, to_png

__all__ = ["alert_chart", "band_chart", "overview_chart", "to_png"]
