"""Charts. Each function takes judged buckets and returns a matplotlib Figure. Pure; pyplot is never imported.

`judged` has an aware UTC index `bucket` and the columns value, low, expected, high, status, as `detectors.judge` returns it.
"""

from alerting.charts.alert import alert_chart
from alerting.charts.overview import band_chart, overview_chart
from alerting.charts.series import to_png

__all__ = ["alert_chart", "band_chart", "overview_chart", "to_png"]
