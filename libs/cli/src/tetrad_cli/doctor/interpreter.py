"""The Python that runs this."""

import sys
from collections.abc import Iterator
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict

MIN_PYTHON: Final = (3, 11)


def check(_patient: Patient) -> Iterator[Finding]:
    """Its version."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= MIN_PYTHON:
        yield Finding(Verdict.GOOD, "python", f"{found} at {sys.executable}")
    else:
        fix = f"install Python {'.'.join(map(str, MIN_PYTHON))} or newer, then `make setup PYTHON=python3.11`"
        yield Finding(Verdict.BAD, "python", f"{found} at {sys.executable}", fix)
