"""Packages that every command needs, and the four services."""

from collections.abc import Iterator
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_cli.doctor.installed import version_of
from tetrad_cli.doctor.recipes import INSTALL

NEEDED: Final = ("msgpack", "pyzmq", "pydantic", "structlog", "prometheus-client", "rich")
SERVICES: Final = ("tetrad-learner", "tetrad-rollout", "tetrad-reward", "tetrad-broadcaster")
MODELS: Final = ("transformers",)


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether they are installed."""
    for name in NEEDED:
        yield _finding(name, Verdict.BAD, "every service needs it")
    for name in SERVICES:
        yield _finding(name, Verdict.NOTE, "`tetrad up` starts it on this machine")
    for name in MODELS:
        yield _finding(name, Verdict.NOTE, "learner and rollout need it")


def _finding(name: str, otherwise: Verdict, use: str) -> Finding:
    found = version_of(name)
    if found is not None:
        return Finding(Verdict.GOOD, name, found)
    return Finding(otherwise, name, f"not installed; {use}", INSTALL)
