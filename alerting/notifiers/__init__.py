"""Destinations of messages. A destination NAME is one module here: `from_settings` opens it, and its class is a `Notifier`.

To add one, write the module, and declare it and its settings in `alerting/settings.py` (DESTINATIONS, Settings). NotifyError is
the only error that leaves this package.
"""
