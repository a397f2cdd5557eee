"""The costs of a run, as ratios of two things timed in one session: `make bench`. docs/performance.md explains each figure."""
