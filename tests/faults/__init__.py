"""Runs that are killed, chats, databases and disks that fail: how many incidents are lost, how many messages repeated.

`python -m tests.faults` prints a table and ends with exit code 1 when a row of it is not ok; `--quick` is the form for CI.
"""
