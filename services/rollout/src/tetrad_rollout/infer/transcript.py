"""The text of one sample while it grows. Pure.

Text that later tokens may change is held back: half a character, and what may become a stop string.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

# What decoders write for bytes that are no whole character yet.
HALF: Final = "\ufffd"


def cut_at(text: str, stop_strings: Sequence[str]) -> str:
    """Return the text before the first stop string.

    >>> cut_at("four. Next: five", ("Next", "."))
    'four'
    """
    ends = [place for stop in stop_strings if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


@dataclass(slots=True)
class Transcript:
    """One sample."""

    decode: Callable[[Sequence[int]], str]
    """Ids to text, without special tokens."""
    stop_strings: Sequence[str] = ()
    text: str = field(default="", init=False)
    """What was given out so far."""

    def grown(self, ids: Sequence[int], *, is_finished: bool) -> str:
        """Return what is new in the text of all ids so far, and is certain."""
        text = cut_at(self.decode(ids), self.stop_strings)
        certain = text if is_finished else _certain(text, self.stop_strings)
        new = certain[len(self.text) :]
        self.text += new
        return new


def _certain(text: str, stop_strings: Sequence[str]) -> str:
    text = text.rstrip(HALF)
    longest = max(map(len, stop_strings), default=0)
    held = next(
        (n for n in range(min(longest - 1, len(text)), 0, -1) if any(s.startswith(text[-n:]) for s in stop_strings)), 0
    )
    return text[: len(text) - held]
