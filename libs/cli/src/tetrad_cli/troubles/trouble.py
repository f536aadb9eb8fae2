"""One entry of the catalogue of troubles. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum

from tetrad_runtime.exits import ExitCode


class When(StrEnum):
    """When a trouble shows."""

    BEFORE = "before anything starts"
    START = "while services start"
    RUNNING = "while a run goes on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a message means and what to do about it."""

    slug: str
    """Its name for ever: `tetrad explain SLUG`, and the anchor on the page."""
    title: str
    says: str
    """Regular expression that is found in its message, and in that of no other trouble."""
    cause: str
    fix: str
    """The smallest change first."""
    raised: str
    """`module:name` of what says it."""
    when: When
    code: ExitCode | None = None
    """Exit code of a run that ends with it; None where the run goes on."""

    def is_in(self, text: str) -> bool:
        """Whether a message speaks of it."""
        return re.search(self.says, text) is not None

    def advice(self) -> str:
        """What is printed below the message that ended a run."""
        return f"{self.title.lower()}: {self.fix} (tetrad explain {self.slug})"

    def lines(self) -> list[str]:
        """What is known of it, for a terminal."""
        end = "the run goes on" if self.code is None else f"exit code {self.code.value} ({self.code.blame})"
        return [f"{self.title} ({self.when}; {end})", f"  cause  {self.cause}", f"  fix    {self.fix}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    """A trouble that others have, and that cannot happen here."""

    title: str
    elsewhere: str
    """How it shows there."""
    why: str
    """Why not here."""
    proof: str
    """Test that fails if it could: `path/of/test.py::name`."""
