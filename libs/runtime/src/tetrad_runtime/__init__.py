"""What every service process shares: signals, exit codes, clocks, restart policies."""
