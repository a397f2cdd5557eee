"""Sums kept beside the raw tables: made by `python -m alerting rollup create`, filled by ClickHouse, read where they serve.

Import the part you use: `recipes` (what a query becomes), `building`, `serving` (the source that reads them), `commands`.
"""
