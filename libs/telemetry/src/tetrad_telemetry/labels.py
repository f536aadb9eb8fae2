"""Which values a metric's label may take: a closed set, or a capped one for names that users choose.

Pure. An unbounded label is how a metrics store dies, so there is no third kind.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Closed:
    """A label whose values are all known when the metric is made."""

    values: tuple[str, ...]
    """Every permitted value; each gets its series at once, so that a rate exists from the first scrape."""

    def admit(self, value: str) -> str:
        """Return the value, or raise ValueError naming the permitted ones."""
        if value not in self.values:
            raise ValueError(f"label value {value!r} is not one of {', '.join(self.values)}")
        return value


@dataclass(slots=True)
class Capped:
    """A label whose values appear as the run goes, e.g. reward functions; past the limit they are `other`."""

    limit: int = 64
    """Most distinct values that get a series of their own."""
    overflowed: int = 0
    """Observations that were counted under `other`."""
    _seen: set[str] = field(default_factory=set)

    def admit(self, value: str) -> str:
        """Return the value while there is room for it, else `other`."""
        if value in self._seen:
            return value
        if len(self._seen) >= self.limit:
            self.overflowed += 1
            return OTHER
        self._seen.add(value)
        return value


Label = Closed | Capped


def closed(values: type[StrEnum] | Iterable[str]) -> Closed:
    """Return the closed set of an enum's values or of the given strings.

    >>> closed(["busy", "idle"]).admit("idle")
    'idle'
    """
    return Closed(tuple(str(value) for value in values))
