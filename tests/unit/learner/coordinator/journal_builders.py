"""Samples and steps of the journal, where a test names only what matters to it."""

from collections.abc import Sequence

from tetrad_testing.builders import a_sample
from tetrad_trajectories.journal import JournalSample, JournalStep
from tetrad_wire.ids import Draw


def a_journal_sample(draw: int, index: int, *, num_sampled: int = 4, reward: float = 1.0, **changes) -> JournalSample:
    sample = a_sample(draw=Draw(draw), index=index, num_sampled=num_sampled, reward=reward, **changes)
    return JournalSample.of(sample)


def a_journal_step(samples: Sequence[JournalSample], *ends: int) -> JournalStep:
    return JournalStep(run_id="run", step=1, lineage=1, samples=tuple(samples), mini_batch_ends=ends or (len(samples),))
