"""What executes forwards for the engine core: one model, its KV, and the parameters it reads.

A runner knows token ids, rows and logits. It must not know requests, seeds, stops, versions or threads: all its
methods are called from one thread, in between two of which the weights may be bound anew.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.protocol import WeightLayout


class Runner(Protocol):
    """A model that decodes R rows side by side."""

    @property
    def vocab_size(self) -> int:
        """Ids are in [0, this)."""
        ...

    @property
    def max_context(self) -> int:
        """Prompt and new tokens of one row, at most."""
        ...

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Tokens that end a sample."""
        ...

    @property
    def layout(self) -> WeightLayout:
        """The parameters' names, dtypes and shapes, in the runner's own order."""
        ...

    def start(self) -> None:
        """Called once, first, on the thread that will call the rest."""
        ...

    def prefill(self, prompts: Sequence[npt.NDArray[np.int32]], *, repeats: Sequence[int]) -> npt.NDArray[np.float32]:
        """Append `repeats[i]` rows for prompt i behind the running rows; next-token logits [sum(repeats), V]."""
        ...

    def decode(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Append one token [R] to each running row; next-token logits [R, V]."""
        ...

    def keep(self, order: npt.NDArray[np.int64]) -> None:
        """Running row i becomes what row order[i] was; rows that are not named are dropped."""
        ...

    def clear(self) -> None:
        """Drop all rows and release their memory."""
        ...

    def copy_parameters(self, buffer: npt.NDArray[np.uint8]) -> None:
        """Write the present parameters into `buffer`, laid out as `layout` says."""
        ...

    def bind(self, buffer: npt.NDArray[np.uint8], layout: WeightLayout) -> None:
        """Compute with the parameters in `buffer` from now on, without copying where the device allows."""
        ...

    def is_bound_to(self, buffer: npt.NDArray[np.uint8]) -> bool:
        """Whether every parameter reads `buffer`'s present bytes."""
        ...

    def probe(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Log-prob of each of `tokens` [T] after them all, from a forward that touches no running row."""
        ...
