"""The subcommands, one module each; every one has `main(argv) -> exit code`."""
