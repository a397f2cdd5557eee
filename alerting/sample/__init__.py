"""The sample app: raw events of a feed + messenger app as Parquet files, with planted incidents.

    truth = extend_app("data/app", now)      # the one call a run needs: create the app, or extend it to `now`
    truth = simulate_app(folder, now, days=14, users=2_000, events_per_day=10_000, seed=3, incidents="none")

All rows follow from the seed and the instant of the app's birth, so any day can be made without the days before it.
"""

from alerting.sample.folder import extend_app, planted_truth, simulate_app
from alerting.sample.incidents import PlantedIncident

__all__ = ["PlantedIncident", "extend_app", "planted_truth", "simulate_app"]
