"""How a command fails: an error that is not a bug is one message and its exit code."""

import sys
from collections.abc import Callable


def reported(work: Callable[[], int]) -> int:
    """Do the work and return its exit code, or that of the fault that ended it."""
    from tetrad_config import ConfigError
    from tetrad_runtime.exits import Fault, exit_code_of

    try:
        return work()
    except (Fault, ConfigError) as error:
        print(f"tetrad: {error}", file=sys.stderr)
        return int(exit_code_of(error))
