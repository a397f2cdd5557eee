"""Judged buckets in, Figure out: the alert's picture, the run's overview, a band over any span. Pure; never pyplot.

`judged` has an aware UTC index `bucket` and the columns value, low, expected, high, status (as `detectors.judge` gives).
"""

from alerting.plots.pictures import alert, band, overview, png

__all__ = ["alert", "band", "overview", "png"]
