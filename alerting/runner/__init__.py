"""A run around the notebook: lock, kernel, papermill, record, failure notice; and the folder of records.

`python -m alerting` and the crontab come in here.
"""

from alerting.runner.run import crontab_line, run_alerts

__all__ = ["crontab_line", "run_alerts"]
