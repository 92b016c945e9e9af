"""One module per group of `hub` commands. Heavy imports wait inside a command: `--help` is quick."""
