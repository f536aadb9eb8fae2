"""Which samples of a journal one page shows, and what it leaves out. Owns the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from tetrad_trajectories.journal import JournalSample, JournalStep, list_steps, read_step, step_path

# On one page, whatever the number of samples: beyond it browsers become slow.
MAX_TOKENS: Final = 1_000_000


class SelectionError(ValueError):
    """There is nothing to show; the text says what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownStep:
    """A step, and those of its groups that are shown."""

    step: int
    lineage: int
    groups: tuple[tuple[JournalSample, ...], ...]

    @property
    def num_samples(self) -> int:
        """Samples shown."""
        return sum(map(len, self.groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a page shows."""

    steps: tuple[ShownStep, ...]
    """In order."""
    left_out: tuple[str, ...]
    """What is not shown, for people."""

    @property
    def num_samples(self) -> int:
        """Samples shown."""
        return sum(step.num_samples for step in self.steps)


def select(journal: Path, *, steps: Sequence[int] | None, limit: int, max_tokens: int = MAX_TOKENS) -> Selection:
    """Read whole groups of the steps that are asked for, or of the newest, up to both bounds.

    Raises SelectionError where nothing is there, CorruptJournalError for a step that is damaged.
    """
    there = list_steps(journal)
    wanted = _wanted(there, steps)
    shown: list[ShownStep] = []
    left_out: list[str] = []
    passed_over: list[int] = []
    for step in wanted:
        if limit <= 0 or max_tokens <= 0:
            passed_over.append(step)
            continue
        try:
            found = read_step(step_path(journal, step))
        except FileNotFoundError:
            left_out.append(f"left out: step {step}, which the run removed meanwhile")
            continue
        groups = _fitting(found, limit=limit, max_tokens=max_tokens)
        num_shown = sum(map(len, groups))
        limit -= num_shown
        max_tokens -= sum(len(sample.token_ids) for group in groups for sample in group)
        if num_shown < len(found.samples):
            left_out.append(
                f"left out: {len(found.samples) - num_shown} of {len(found.samples)} samples of step {step}"
            )
            limit = 0
        if groups:
            shown.append(ShownStep(step=step, lineage=found.lineage, groups=groups))
    if passed_over:
        span = _span(sorted(passed_over))
        left_out.append(f"left out: {span}; show some with --step N, or more with --limit N")
    if not shown:
        raise SelectionError("; ".join([f"no group of step {wanted[0]} fits the page", *left_out, "raise --limit"]))
    return Selection(steps=tuple(sorted(shown, key=lambda one: one.step)), left_out=tuple(left_out))


def _wanted(there: Sequence[int], steps: Sequence[int] | None) -> list[int]:
    if not there:
        raise SelectionError("the journal is empty: no step was sealed yet")
    missing = sorted(set(steps or ()) - set(there))
    if missing:
        raise SelectionError(
            f"step {missing[0]} is not in the journal, which holds {_span(there)}; "
            "journal.keep=all keeps every step of a run"
        )
    return sorted(set(steps)) if steps else list(reversed(there))


def _span(steps: Sequence[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"


def _fitting(step: JournalStep, *, limit: int, max_tokens: int) -> tuple[tuple[JournalSample, ...], ...]:
    """Return the first groups that fit; at least a part of the first, so that there is something to see."""
    groups: list[tuple[JournalSample, ...]] = []
    for _draw, members in groupby(step.samples, key=lambda sample: sample.draw):
        group = tuple(members)
        limit -= len(group)
        max_tokens -= sum(len(sample.token_ids) for sample in group)
        if limit < 0 or max_tokens < 0:
            return tuple(groups) or (group[: max(1, len(group) + min(limit, 0))],)
        groups.append(group)
    return tuple(groups)
