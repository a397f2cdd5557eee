"""Metric alerts for a feed + messenger app. Import from the modules: `from alerting.detectors.bands import IQR`."""
