"""A bigram model in numpy: an engine for tests and load simulation, whose log-probs can be written down.

The logits of the next token are row `table[last token]` of one [V, V] parameter. Owns the table's place, the rows'
last tokens and the faults it was told to have. Needs no torch; everything else is the real engine's code.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.protocol import WeightLayout
from tetrad_weights.digest import Bytes
from tetrad_weights.layout import Layout, Parameter, lay_out

TABLE: Final = "bigram.weight"
_MAX_CONTEXT: Final = 4096
_FREEZE_LIMIT_S: Final = 60.0


@dataclass(slots=True)
class Faults:
    """What goes wrong, and when; may be changed while the engine runs."""

    fail_on_token: int | None = None
    """The forward whose newest token this is raises."""
    token_latency_s: float = 0.0
    """Each forward takes at least this long."""
    may_run: threading.Event = field(default_factory=threading.Event)
    """Cleared: every forward hangs (for a minute at most) until it is set."""

    def __post_init__(self) -> None:
        self.may_run.set()


class FakeRunner:
    """A table of logits that pretends to be a model."""

    def __init__(
        self,
        table: npt.NDArray[np.float32],
        *,
        eos_token_ids: Sequence[int] = (),
        faults: Faults | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table
        self._last = np.zeros(0, np.int64)
        self._sleep = sleep
        self.faults = faults or Faults()
        self.eos_token_ids = tuple(eos_token_ids)
        self.vocab_size = len(table)
        self.max_context = _MAX_CONTEXT
        self.layout: Layout = lay_out([Parameter(TABLE, "float32", (len(table), len(table)))])

    def start(self) -> None:
        """Nothing to set up."""

    def prefill(self, prompts: Sequence[npt.NDArray[np.int32]], *, repeats: Sequence[int]) -> npt.NDArray[np.float32]:
        """See `Runner.prefill`."""
        new = np.repeat([int(prompt[-1]) for prompt in prompts], repeats)
        logits = self._logits(new)
        self._last = np.concatenate([self._last, new])
        return logits

    def decode(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """See `Runner.decode`."""
        assert len(tokens) == len(self._last)
        self._last = tokens.copy()
        return self._logits(tokens)

    def _logits(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        if not self.faults.may_run.wait(_FREEZE_LIMIT_S):
            raise TimeoutError(f"frozen for {_FREEZE_LIMIT_S} s")
        if self.faults.token_latency_s > 0.0:
            self._sleep(self.faults.token_latency_s)
        if self.faults.fail_on_token in tokens:
            raise RuntimeError(f"told to fail on token {self.faults.fail_on_token}")
        logits: npt.NDArray[np.float32] = self._table[tokens]
        return logits

    def keep(self, order: npt.NDArray[np.int64]) -> None:
        """See `Runner.keep`."""
        self._last = self._last[order]

    def clear(self) -> None:
        """See `Runner.clear`."""
        self._last = np.zeros(0, np.int64)

    def copy_parameters(self, buffer: Bytes) -> None:
        """See `Runner.copy_parameters`."""
        _table_in(buffer, self.layout)[:] = self._table

    def bind(self, buffer: Bytes, layout: WeightLayout) -> None:
        """See `Runner.bind`."""
        self._table = _table_in(buffer, layout)
        self._bound_layout = layout

    def is_bound_to(self, buffer: Bytes) -> bool:
        """See `Runner.is_bound_to`."""
        return self._table.ctypes.data == _table_in(buffer, self._bound_layout).ctypes.data

    def probe(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """See `Runner.probe`."""
        logits = self._table[tokens[-1]].astype(np.float64)
        logprobs = logits - np.log(np.exp(logits).sum())
        chosen: npt.NDArray[np.float32] = logprobs[tokens].astype(np.float32)
        return chosen


def random_table(*, vocab_size: int, seed: int, scale: float = 1.0) -> npt.NDArray[np.float32]:
    """Normal logits [V, V]."""
    return np.random.default_rng(seed).normal(0.0, scale, (vocab_size, vocab_size)).astype(np.float32)


def _table_in(buffer: Bytes, layout: WeightLayout) -> npt.NDArray[np.float32]:
    (spec,) = layout.tensors
    part = buffer[spec.offset : spec.offset + spec.num_bytes]
    table: npt.NDArray[np.float32] = part.view(np.float32).reshape(tuple(spec.shape))
    return table
