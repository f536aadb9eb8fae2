"""The table of some samples of a step: prompt, response, reward, advantage. Kept until the step is reported.

Owns which samples are shown, and how much of them. The ranks say what each was worth.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrad_learner.coordinator.shaping import Shaping
from tetrad_trajectories.journal import JournalSample
from tetrad_wire.messages.leases import Prompt
from tetrad_wire.messages.steps import StepCredited

MAX_ROWS: Final = 16
# Of a prompt or a response; a table is looked at, the journal holds the rest.
MAX_CHARACTERS: Final = 2000
COLUMNS: Final = ("draw", "sample", "prompt", "response", "reward", "advantage")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One sample, for people."""

    draw: int
    index: int
    prompt: str
    response: str
    """Of the last turn."""
    reward: float
    """As training sees it."""
    advantage: float | None = None
    """Mean over the trained tokens; None where none is trained."""

    @property
    def cells(self) -> tuple[int, int, str, str, float, float | None]:
        """The values under COLUMNS."""
        return (self.draw, self.index, self.prompt, self.response, self.reward, self.advantage)


def rows_of(
    samples: Sequence[JournalSample], *, prompt_of: Callable[[int], Prompt], shaping: Shaping
) -> tuple[TableRow, ...]:
    """Return rows for the first samples of a step, in training order: whole groups as far as they fit."""
    return tuple(
        TableRow(
            draw=sample.draw,
            index=sample.index,
            prompt=clipped("\n".join(f"{one.role}: {one.content}" for one in prompt_of(sample.draw).messages)),
            response=clipped(sample.response),
            reward=shaping.reward(sample),
        )
        for sample in samples[:MAX_ROWS]
    )


def clipped(text: str, *, limit: int = MAX_CHARACTERS) -> str:
    """Return the beginning of a text, and how much was left out.

    >>> clipped("abcdef", limit=4)
    'abcd … (2 more characters)'
    """
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit} more characters)"


class SampleTables:
    """Tables of steps that are not reported yet."""

    def __init__(self, *, interval: int) -> None:
        self._interval = interval
        self._rows: dict[int, tuple[TableRow, ...]] = {}
        self._lineages: dict[int, int] = {}

    def is_due(self, step: int) -> bool:
        """Whether a step has a table: the first, and every so many; never with an interval of −1."""
        return self._interval > 0 and (step == 1 or step % self._interval == 0)

    def open(self, step: int, *, lineage: int, rows: Sequence[TableRow]) -> None:
        """Keep the rows of a step that the ranks are about to execute, for the first time or again."""
        self._rows[step], self._lineages[step] = tuple(rows), lineage

    def credit(self, report: StepCredited) -> None:
        """Add what one rank says its samples were worth; reports of an earlier attempt are dropped."""
        if self._lineages.get(report.step) != report.lineage:
            return
        rows = list(self._rows[report.step])
        for place, advantage in zip(report.sample_index.tolist(), report.advantages.tolist(), strict=True):
            if place < len(rows):
                known = None if np.isnan(advantage) else float(advantage)
                rows[place] = dataclasses.replace(rows[place], advantage=known)
        self._rows[report.step] = tuple(rows)

    def take(self, step: int) -> tuple[TableRow, ...]:
        """Return the rows of a step, and forget it with all before it."""
        rows = self._rows.get(step, ())
        self._rows = {later: kept for later, kept in self._rows.items() if later > step}
        self._lineages = {later: lineage for later, lineage in self._lineages.items() if later > step}
        return rows
