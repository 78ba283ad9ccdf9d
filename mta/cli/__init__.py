"""The command line: `floodgate` and its subcommands, one module each."""
