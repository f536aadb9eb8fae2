"""Products of two numbers, for several turns with tools. Pure but for `prepare`."""

import random
from pathlib import Path
from typing import Final

from tetrad_cli.data.errors import DataCommandError
from tetrad_cli.data.report import write_and_report
from tetrad_trajectories.row import Message, Row

SEED: Final = 1234
HELD_OUT: Final = 100
MIN_DIGITS: Final = 2
MAX_DIGITS: Final = 9


def prepare(output_dir: Path, *, digits: int, num_rows: int) -> None:
    """Write train.parquet and validation.parquet; raises DataCommandError where there are too few products."""
    rows = to_rows(digits=digits, num_rows=num_rows)
    metadata = {"tetrad.dataset": "multiply", "tetrad.digits": str(digits)}
    for split, part in (("train", rows[HELD_OUT:]), ("validation", rows[:HELD_OUT])):
        write_and_report(output_dir / f"{split}.parquet", part, metadata=metadata)


def to_rows(*, digits: int, num_rows: int) -> list[Row]:
    """Return HELD_OUT rows to evaluate on and then `num_rows` others, all different."""
    if not MIN_DIGITS <= digits <= MAX_DIGITS:
        raise DataCommandError(f"--digits is {digits}; factors have {MIN_DIGITS} to {MAX_DIGITS} digits")
    first, lowest = 9 * 10 ** (digits - 1), 10 ** (digits - 1)
    # The second factor has two digits: two calls of the tool, and a sum.
    num_products = first * 90
    if num_rows + HELD_OUT > num_products:
        raise DataCommandError(
            f"--size is {num_rows}; {digits} digits make {num_products - HELD_OUT:,} rows: raise --digits"
        )
    chosen = random.Random(SEED).sample(range(num_products), num_rows + HELD_OUT)
    return [_row(lowest + number // 90, 10 + number % 90, index) for index, number in enumerate(chosen)]


def _row(left: int, right: int, index: int) -> Row:
    return Row(
        prompt=(Message("user", f"What is {left} * {right}?"),),
        env_class="multiply",
        reward_method="rule",
        ground_truth=str(left * right),
        extras={"data_source": "multiply", "extra_info": {"index": index}},
    )
