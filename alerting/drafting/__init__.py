"""`python -m alerting new-metric`: a query becomes a line of the catalogue. `drafts` reads the query, `looking` asks the source,
`writing` changes the files, `command` puts them together."""

from alerting.drafting.command import new_metric

__all__ = ["new_metric"]
