"""Start a run: lock, kernel, papermill, record, failure notice. The command line and cron start runs through this package."""

from alerting.runner.run import crontab_line, run_alerts

__all__ = ["crontab_line", "run_alerts"]
