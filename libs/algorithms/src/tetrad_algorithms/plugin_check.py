"""Plugin check: imports functions of others in a process that may break, and says what is wrong with them.

`python -m tetrad_algorithms.plugin_check KEY=NAME …` prints a line of JSON, reason by key; an empty object is good.
For whoever must not import foreign code, nor torch with it, but wants to know before anything starts.
"""

import json
import sys
from collections.abc import Sequence

from tetrad_algorithms import plugins


def main(arguments: Sequence[str]) -> int:
    """Check each KEY=NAME and print what is wrong with which."""
    pairs = (argument.partition("=")[::2] for argument in arguments)
    print(json.dumps({key: reason for key, name in pairs if (reason := problem_of(key, name))}))
    return 0


def problem_of(key: str, name: str) -> str | None:
    """Return why the function that `name` leads to cannot be used; None if it can."""
    try:
        found = plugins.find(key, name)
    except plugins.PluginError as error:
        return error.reason
    except Exception as error:  # Foreign code may raise anything.
        return f"importing it raised {type(error).__name__}: {error}"
    return None if found else f"nothing is installed under this name in the entry points of {key}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
