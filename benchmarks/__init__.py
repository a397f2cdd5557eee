"""What a run costs, as ratios of two things timed in one run: `make bench`. docs/performance.md explains each figure."""
