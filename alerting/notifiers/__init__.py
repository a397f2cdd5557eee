"""Destinations of messages. Each destination is one module: `from_settings` opens it, and its class is a `Notifier`.

To add one, write the module, and declare it with its settings in `alerting/settings.py` (DESTINATIONS, Settings). The only error
that this package raises is NotifyError.
"""
