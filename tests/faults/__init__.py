"""Count lost incidents and repeated messages when runs are killed, or chat, database or disk fail.

`python -m tests.faults` prints a table. The exit code is 1 if a row is not ok. `--quick` is the short form for CI.
"""
