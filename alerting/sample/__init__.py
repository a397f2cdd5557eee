"""The sample app: raw events of a feed + messenger app as Parquet files, with planted incidents.

    truth = folder.extend_app("data/app", now)      # the one call a run needs: create the app, or extend it to `now`
    truth = folder.simulate_app(path, now, days=14, users=2_000, events_per_day=10_000, seed=3, incidents="none")

All rows follow from the seed and the time at which the app was created, so any day can be made without the days before it.
"""
