"""One thing that was looked at, and what it means. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

GIB: Final = 1 << 30


class Verdict(StrEnum):
    """What a finding means."""

    GOOD = "ok"
    NOTE = "note"
    """Some runs need it, or are better with it."""
    BAD = "missing"
    """Every run needs it, or a run on what this machine has."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    subject: str
    detail: str
    """What there is."""
    fix: str = ""
    """What to do; empty where all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is looked at."""

    environ: Mapping[str, str] = field(default_factory=dict)
    outputs: Path = Path("outputs")
    """Where runs will live."""
    model: str | None = None
    """A model folder, or a name on the Hub, whose template is looked at; None for no model."""
    pythons: tuple[Path, ...] = ()
    """Other interpreters that services will run in."""


Check = Callable[[Patient], Iterable[Finding]]
"""Looks at one thing; quick, without a change to the machine. A check never raises for what it finds."""
