"""The folder of records: days of runs, the pages that make them readable, the end of old ones."""

from alerting.runner.reports.days import last_runs
from alerting.runner.reports.overview import index
from alerting.runner.reports.pruning import prune
from alerting.runner.reports.sizes import sizes

__all__ = ["index", "last_runs", "prune", "sizes"]
