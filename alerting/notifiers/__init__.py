"""Destinations of messages: a module each, whose `from_settings` opens it. The only error that they raise is NotifyError."""
