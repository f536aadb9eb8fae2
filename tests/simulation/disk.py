"""What survives every crash: ledger, inbox, journal, checkpoints, and the log of reports."""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from tetrad_learner.coordinator.core.events import SampleArrived
from tetrad_learner.coordinator.core.facts import Fact, GroupDropped, StepSealed
from tetrad_learner.coordinator.core.image import LedgerImage

Batch = tuple[tuple[int, int, str], ...]
"""(draw, index, digest of the sample) in the order of training; copies follow the groups that they are of."""


def digest_of(*parts: object) -> str:
    """A short name that depends on every part, equal in every process."""
    return f"{zlib.crc32(repr(parts).encode()):08x}"


def reward_of(digest: str) -> float:
    """0 or 1, as the toss of a coin."""
    # A CRC would not do: those of two samples of a group differ in the same bits, whatever the group.
    return float(hashlib.blake2b(digest.encode(), digest_size=1).digest()[0] % 2)


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the policy, and how they came to be."""

    digest: str
    history: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """(step, draws) of everything that was executed."""
    step: int = 0
    """Newest step that they contain, or that was skipped after it."""


class Disk:
    """Durable things."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.image = LedgerImage()
        self.epoch = 0
        self.inbox: dict[int, dict[int, str]] = {}
        self.journal: dict[int, Batch] = {}
        self.checkpoints: dict[int, Weights] = {}
        self.reports: list[int] = []

    def begin_epoch(self) -> int:
        """Count a start of the coordinator."""
        self.epoch += 1
        return self.epoch

    def read(self) -> LedgerImage:
        """A new image of everything committed."""
        image = LedgerImage()
        image.apply_all(self.facts)
        return image

    def commit(self, facts: Sequence[Fact], samples: Sequence[SampleArrived]) -> None:
        """One transaction."""
        for sample in samples:
            self.inbox.setdefault(sample.key.draw, {})[sample.index] = sample.digest
        self.facts.extend(facts)
        self.image.apply_all(facts)
        for fact in facts:
            match fact:
                case GroupDropped():
                    self.inbox.pop(fact.draw, None)
                case StepSealed():
                    for draw in fact.draws:
                        del self.inbox[draw]

    def batch(self, draws: Sequence[int], multiplicities: Sequence[int] = ()) -> Batch:
        """Payloads of some draws, ordered by identity, and as often as they are trained on."""
        order, left = list(draws), dict(zip(draws, multiplicities, strict=False))
        while left := {draw: times - 1 for draw, times in left.items() if times > 1}:
            order.extend(left)
        return tuple((draw, index, self.inbox[draw][index]) for draw in order for index in sorted(self.inbox[draw]))

    def contains(self, weights: Weights, step: int) -> bool:
        """Whether weights are those after `step`: what they lack of it was skipped."""
        return weights.step <= step and self.image.skipped.issuperset(range(weights.step + 1, step + 1))

    def newest_checkpoint(self) -> Weights | None:
        """What a new set of ranks loads."""
        return self.checkpoints[max(self.checkpoints)] if self.checkpoints else None
