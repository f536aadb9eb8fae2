"""Promises of the tutorial, and what became of each."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tutorial.walk import Walk


class Outcome(StrEnum):
    """What is shown in the table."""

    PASS = "pass"
    PART = "pass, the rest needs a GPU"
    GPU = "needs a GPU"
    PENDING = "pending"
    FAIL = "FAIL"


class NeedsGpuError(Exception):
    """Nothing of it can be shown here; the text says why."""


class PendingError(Exception):
    """What it needs is not here; the text says what, and it runs by itself once that is."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One place where the tutorial was not true of what it describes."""

    name: str
    """T1 to T32."""
    claim: str
    """What the tutorial says, or has to rest on."""
    check: Callable[[Walk], str]
    """Returns the evidence; raises AssertionError, NeedsGpuError or PendingError."""
    on_gpu: str = ""
    """What of it only a GPU shows; empty if nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A line of the table."""

    promise: Promise
    outcome: Outcome
    evidence: str


def verdict_of(promise: Promise, walk: Walk) -> Verdict:
    """Look a promise up in what happened."""
    try:
        evidence = promise.check(walk)
    except NeedsGpuError as reason:
        return Verdict(promise, Outcome.GPU, str(reason))
    except PendingError as reason:
        return Verdict(promise, Outcome.PENDING, str(reason))
    except (AssertionError, OSError, LookupError, ValueError) as error:
        return Verdict(promise, Outcome.FAIL, f"{type(error).__name__}: {error}")
    if promise.on_gpu and not walk.machine.has_gpu:
        return Verdict(promise, Outcome.PART, f"{evidence}; on a GPU: {promise.on_gpu}")
    return Verdict(promise, Outcome.PASS, evidence)
