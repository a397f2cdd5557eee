"""Charts: judged buckets in, matplotlib Figure out. Pure; never pyplot.

`judged` has an aware UTC index `bucket` and the columns value, low, expected, high, status (as `detectors.judge` gives).
"""

from alerting.charts.alert import alert_chart
from alerting.charts.overview import band_chart, overview_chart
from alerting.charts.series import to_png

__all__ = ["alert_chart", "band_chart", "overview_chart", "to_png"]
