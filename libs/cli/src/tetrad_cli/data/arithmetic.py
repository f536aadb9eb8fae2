"""Sums of two numbers of equal length: the demo's task. Pure but for `prepare`."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_cli.data.errors import DataCommandError
from tetrad_cli.data.report import write_and_report
from tetrad_trajectories.row import Message, Row

# Fixed for ever: the demo's warm start has never seen the sums that this seed holds out.
SPLIT_SEED: Final = 1234
MAX_HELD_OUT: Final = 400
MAX_SUMS: Final = 10_000
# random.sample draws from a range, whose length must fit a signed word.
MAX_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Sum:
    """One exercise: x + y, both written with `digits` digits."""

    x: int
    y: int
    digits: int

    @property
    def question(self) -> str:
        """The text that the policy continues.

        >>> Sum(3, 58, digits=2).question
        '03+58='
        """
        return f"{self.x:0{self.digits}d}+{self.y:0{self.digits}d}="

    @property
    def answer(self) -> str:
        """The correct continuation, without leading zeros."""
        return str(self.x + self.y)


@dataclass(frozen=True, slots=True)
class Split:
    """Exercises in their order in the files; no exercise is in both."""

    train: tuple[Sum, ...]
    held_out: tuple[Sum, ...]


def split(digits: int) -> Split:
    """Return all sums of `digits`-digit numbers, or 10,000 distinct ones where there are more, shuffled.

    400 of them are held out, or a tenth where that is fewer. Raises DataCommandError for too many digits.
    """
    if not 1 <= digits <= MAX_DIGITS:
        raise DataCommandError(f"--digits is {digits}; sums have 1 to {MAX_DIGITS} digits")
    sums = _shuffled(digits)
    num_held_out = min(MAX_HELD_OUT, len(sums) // 10)
    return Split(train=sums[num_held_out:], held_out=sums[:num_held_out])


def to_row(exercise: Sum, *, split_name: str, index: int) -> Row:
    """Return the exercise in the row format of datasets."""
    return Row(
        prompt=(Message("user", exercise.question),),
        env_class="arithmetic",
        reward_method="rule",
        ground_truth=exercise.answer,
        extras={"data_source": "arithmetic", "extra_info": {"split": split_name, "index": index}},
    )


def to_rows(exercises: tuple[Sum, ...], *, split_name: str) -> list[Row]:
    """Return exercises in the row format of datasets."""
    return [to_row(exercise, split_name=split_name, index=i) for i, exercise in enumerate(exercises)]


def prepare(output_dir: Path, *, digits: int) -> None:
    """Write train.parquet and validation.parquet."""
    exercises = split(digits)
    metadata = {"tetrad.dataset": "arithmetic", "tetrad.digits": str(digits)}
    for name, part in (("train", exercises.train), ("validation", exercises.held_out)):
        rows = to_rows(part, split_name=name)
        write_and_report(output_dir / f"{name}.parquet", rows, metadata=metadata)


def _shuffled(digits: int) -> tuple[Sum, ...]:
    base = 10**digits
    rng = random.Random(SPLIT_SEED)
    if base**2 > MAX_SUMS:
        pairs = rng.sample(range(base**2), MAX_SUMS)
        return tuple(Sum(pair // base, pair % base, digits=digits) for pair in pairs)
    sums = [Sum(x, y, digits=digits) for x in range(base) for y in range(base)]
    rng.shuffle(sums)
    return tuple(sums)
