"""Records of runs, and pages for people, which need no server. `publish` and `prune` write; the pages are pure."""
