"""Finished samples between arrival and journal: in memory, and in the inbox of the ledger."""

from collections.abc import Iterable

from tetrad_learner.coordinator.samples import from_payload, ordered, to_journal
from tetrad_learner.coordinator.store import InboxRow
from tetrad_trajectories.journal import JournalSample
from tetrad_wire.messages.leases import SampleFinished


class Payloads:
    """Samples by draw and index."""

    def __init__(self) -> None:
        self._samples: dict[int, dict[int, SampleFinished]] = {}

    def restore(self, rows: Iterable[InboxRow]) -> None:
        """Take back what the inbox kept over a restart."""
        for row in rows:
            self.add(from_payload(row.payload))

    def add(self, sample: SampleFinished) -> None:
        """Keep an accepted sample."""
        self._samples.setdefault(sample.draw, {})[sample.index] = sample

    def batch(self, draws: Iterable[int]) -> tuple[JournalSample, ...]:
        """The samples of some draws, ordered by identity."""
        return ordered([to_journal(sample) for draw in draws for sample in self._samples[draw].values()])

    def forget(self, draws: Iterable[int]) -> None:
        """The journal has them, or they were dropped."""
        for draw in draws:
            self._samples.pop(draw, None)

    def __len__(self) -> int:
        """Samples held."""
        return sum(map(len, self._samples.values()))
