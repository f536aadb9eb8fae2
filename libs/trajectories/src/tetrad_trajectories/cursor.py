"""The dataset cursor: which row a draw stands for. Pure; the same in every process and after every restart.

One epoch is `steps_per_epoch · batch_size` draws: a last, partial batch of rows is left out, other rows each epoch.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Place(NamedTuple):
    """Where the cursor stands."""

    epoch: int
    """Passes over the dataset finished before, from 0."""
    row: int
    """Index into the dataset."""


def steps_per_epoch(*, num_rows: int, batch_size: int) -> int:
    """Return the full batches in one pass over the dataset; raise ValueError if there is none.

    >>> steps_per_epoch(num_rows=7473, batch_size=1024)
    7
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    if num_rows < batch_size:
        raise ValueError(
            f"train_batch_size {batch_size} exceeds the {num_rows} rows of the dataset; "
            "lower trainer.train_batch_size or add rows"
        )
    return num_rows // batch_size


def row_at(draw: int, *, num_rows: int, seed: int, shuffle: bool, batch_size: int = 1) -> Place:
    """Return epoch and row of a draw: without replacement within an epoch, newly shuffled each epoch.

    `batch_size` is `train_batch_size`, in prompts. Raises ValueError for a negative draw or too few rows.

    >>> [row_at(draw, num_rows=5, seed=0, shuffle=False, batch_size=2) for draw in (3, 4)]
    [Place(epoch=0, row=3), Place(epoch=1, row=0)]
    """
    if draw < 0:
        raise ValueError(f"draw is {draw}; draws count from 0")
    draws = steps_per_epoch(num_rows=num_rows, batch_size=batch_size) * batch_size
    epoch, place = divmod(draw, draws)
    return Place(epoch, int(_order(num_rows, seed, epoch)[place]) if shuffle else place)


@lru_cache(maxsize=4)
def _order(num_rows: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    # numpy promises the raw stream of a bit generator for ever, but not Generator.permutation (NEP 19).
    words = np.random.PCG64(np.random.SeedSequence((_word(seed), epoch))).random_raw(num_rows)
    order = np.argsort(words, kind="stable").astype(np.int64)
    order.setflags(write=False)
    return order


def _word(seed: int) -> int:
    """Map any seed, negative ones too, to what SeedSequence takes."""
    return seed % 2**64
