"""Write `docs/reference/exit-codes.md` from the exit codes of the runtime."""

import sys
from typing import Final

from make_protocol_reference import sentences_of, table
from reference_page import publish

from tetrad_cli.launch.restarts import CRASH_CODES, HOPELESS_CODES
from tetrad_runtime.exits import ExitCode

HEAD: Final = """# Exit codes

<!-- Made by tools/make_exit_codes_reference.py from tetrad_runtime.exits; do not edit. -->

Every process says with its exit code whose fault its end was. `tetrad train` ends with the learner's code. A code
above 128 is a signal as the shell reports it: 137 is SIGKILL, often the kernel's when memory ran out. A run that was
interrupted and ended in order says 130 (Ctrl-C) or 143 (SIGTERM), so that nothing takes half a run for a whole one;
`tetrad down` lets it end with 0.
"""
AFTER: Final = """
The launcher starts a replica again after any end that it did not ask for, with back-off and within a limit, unless
the table says that it cannot help.
"""


def main() -> int:
    """Write the page, or return 1 if it would change."""
    return publish("exit-codes.md", render(), maker="tools/make_exit_codes_reference.py")


def render() -> str:
    """The page."""
    sentences = sentences_of(ExitCode)
    rows = (
        (str(code.value), f"`{code.name}`", code.blame, sentences.get(code.name, "All went well."), _launcher(code))
        for code in ExitCode
    )
    return HEAD + "\n" + table(("code", "name", "whose fault", "meaning", "the launcher"), rows) + "\n" + AFTER


def _launcher(code: ExitCode) -> str:
    if code in HOPELESS_CODES:
        return "does not start it again"
    return "counts it as a crash" if code in CRASH_CODES else ""


if __name__ == "__main__":
    sys.exit(main())
