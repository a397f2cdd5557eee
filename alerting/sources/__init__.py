"""Sources of counts. Import the one that you use: `alerting.sources.clickhouse`, `.embedded` or `.table`."""
