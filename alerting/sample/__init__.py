"""A believable feed + messenger app: its raw events as Parquet files, with incidents whose truth is known.

    truth = extend("data/app", now)         # the one call a run needs: create the app, or let it live on to `now`
    truth = simulate(folder, now, days=14, users=2_000, events_per_day=10_000, seed=3, incidents="none")

Everything follows from the seed and the instant the app was born, so any day can be made without the days before it.
"""

from alerting.sample.folder import extend_app, planted_truth, simulate_app
from alerting.sample.incidents import PlantedIncident

__all__ = ["PlantedIncident", "extend_app", "planted_truth", "simulate_app"]
