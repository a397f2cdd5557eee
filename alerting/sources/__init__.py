"""Where counts come from. Import the one source you use: `alerting.sources.clickhouse`, `.embedded` or `.table`."""
