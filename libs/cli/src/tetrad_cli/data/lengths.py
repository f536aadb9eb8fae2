"""How long the prompts of a dataset are, and which of them a run would drop. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

NUM_BINS: Final = 12
BAR_WIDTH: Final = 40
MAX_NAMED: Final = 10
"""Rows that are named of those that would be dropped."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Prompts of similar length."""

    first: int
    """Tokens, included."""
    last: int
    """Tokens, included."""
    count: int


def histogram(lengths: Sequence[int], *, num_bins: int = NUM_BINS) -> list[Bin]:
    """Sort lengths into about so many bins of equal, round width; none is left out.

    >>> histogram([3, 4, 11], num_bins=2)
    [Bin(first=0, last=4, count=2), Bin(first=5, last=9, count=0), Bin(first=10, last=14, count=1)]
    """
    if not lengths:
        return []
    width = _round_width((max(lengths) - min(lengths)) // num_bins + 1)
    start = min(lengths) // width * width
    counts = [0] * ((max(lengths) - start) // width + 1)
    for length in lengths:
        counts[(length - start) // width] += 1
    return [Bin(start + n * width, start + (n + 1) * width - 1, count) for n, count in enumerate(counts)]


def _round_width(least: int) -> int:
    width = 1
    while width < least:
        # 1, 2, 5, 10, 20, 50 …
        width = width * 5 // 2 if str(width).startswith("2") else width * 2
    return width


def drawn(bins: Sequence[Bin], *, limit: int) -> Iterator[str]:
    """Yield a line for each bin; those beyond the limit are marked."""
    most = max((one.count for one in bins), default=0)
    wide = max((len(str(one.last)) for one in bins), default=0)
    for one in bins:
        bar = "#" * (-(-one.count * BAR_WIDTH // most) if most else 0)
        mark = "  dropped" if one.first > limit and one.count else "  partly dropped" if one.last > limit else ""
        yield f"  {one.first:>{wide}} – {one.last:>{wide}}  {one.count:>7,}  {bar}{mark if one.count else ''}"


def summary(lengths: Sequence[int], *, limit: int) -> str:
    """Say how long prompts are, and how many are longer than the limit."""
    ordered = sorted(lengths)
    middle, high = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    num_long = sum(length > limit for length in lengths)
    return (
        f"tokens: {ordered[0]} to {ordered[-1]}, median {middle}, 99 % have at most {high}; "
        f"{num_long:,} of {len(lengths):,} are longer than trainer.max_prompt_length={limit} and would be dropped"
    )
