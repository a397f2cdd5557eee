"""The commands of the command line, one module per noun. `alerting/__main__.py` lists them."""
