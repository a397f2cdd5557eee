"""Start a run: lock, kernel, papermill, record, failure notice. The command line, and through it cron, calls this package."""

from alerting.runner.run import crontab_line, report_settings_error, run_alerts

__all__ = ["crontab_line", "report_settings_error", "run_alerts"]
