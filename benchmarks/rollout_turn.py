"""What both sides of `rollout.py` do in a turn, and what is said of it. No torch."""

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Self, TypeVar

T = TypeVar("T")
# Of the last round: the next one may take longer.
ROUND_SLACK: Final = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Sizes of a turn."""

    num_prompts: int = 256
    num_samples: int = 4
    """Of each prompt."""
    num_tokens: int = 256
    """Of each sample, unless it ends by itself."""

    def messages(self, turn: int) -> list[str]:
        """Prompts that no other turn has: nothing is cached from before but what all prompts begin with."""
        return [
            f"Write a long and detailed story about the number {turn * self.num_prompts + place} and its many friends, "
            "who travel far over land and sea, meet strangers, and never come to an end of their journey."
            for place in range(self.num_prompts)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one side did in one turn."""

    seconds: float
    num_tokens: int
    """Sampled, of all samples."""
    full_share: float
    """Of samples that ran to their limit."""
    cached_share: float
    """Of prompt tokens that were not computed: they had been for another sample."""

    @property
    def tokens_per_second(self) -> float:
        """Sampled tokens a second."""
        return self.num_tokens / self.seconds

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> Self:
        """Read what `fields` wrote, from the other process."""
        return cls(**fields)  # type: ignore[arg-type]  # what we wrote ourselves

    def fields(self) -> dict[str, object]:
        """As JSON takes it."""
        return asdict(self)


async def in_turns(
    sides: Sequence[Callable[[int], Awaitable[T]]], *, num_rounds: int, left_s: Callable[[], float]
) -> list[list[T]]:
    """What each side gives in each round, side by side in time; the first round is a warm-up and left out.

    Sides are told the number of the round. There are fewer rounds where `left_s` says that the deadline is near.
    """
    found: list[list[T]] = [[] for _ in sides]
    for number in range(num_rounds + 1):
        began = time.monotonic()
        for side, mine in zip(sides, found, strict=True):
            mine.append(await side(number))
        if number > 0 and left_s() < ROUND_SLACK * (time.monotonic() - began):
            break
    return [mine[1:] for mine in found]


def side_figures(side: str, label: str, turns: Sequence[Turn]) -> dict[str, float]:
    """Median and best of one side."""
    rates = [turn.tokens_per_second for turn in turns]
    return {
        f"{side}_tokens_per_second_{label}": statistics.median(rates),
        f"{side}_best_tokens_per_second_{label}": max(rates),
        f"{side}_{label}_cached_tokens_share": statistics.median(turn.cached_share for turn in turns),
        f"{side}_{label}_full_length_share": statistics.median(turn.full_share for turn in turns),
    }


def ratio_figures(suffix: str, service: Sequence[Turn], bare: Sequence[Turn]) -> dict[str, float]:
    """The service in units of the bare engine: each turn with its neighbour, their median; and best with best.

    >>> fast = Turn(seconds=1.0, num_tokens=100, full_share=1.0, cached_share=0.5)
    >>> slow = Turn(seconds=2.0, num_tokens=100, full_share=1.0, cached_share=0.5)
    >>> ratio_figures("", [slow, fast, fast], [fast, fast, fast])
    {'service_over_bare_engine_ratio': 1.0, 'service_over_bare_engine_best_ratio': 1.0}
    """
    paired = [ours.tokens_per_second / theirs.tokens_per_second for ours, theirs in zip(service, bare, strict=True)]
    best = max(turn.tokens_per_second for turn in service) / max(turn.tokens_per_second for turn in bare)
    return {
        f"service_over_bare_engine{suffix}_ratio": statistics.median(paired),
        f"service_over_bare_engine{suffix}_best_ratio": best,
    }
