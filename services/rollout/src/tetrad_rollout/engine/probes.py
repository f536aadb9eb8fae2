"""A tiny forward that tells whether an engine computes with the weights it says it has. Pure."""

from collections import OrderedDict
from typing import Final

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.errors import ProbeFailedError
from tetrad_weights.canary import canary_tokens
from tetrad_wire.messages.weights import Canary

_KEPT: Final = 4
# Equal weights give equal bits in one process; another forward's kernels may differ in the last ones.
AGAIN: Final = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.01}
"""Largest difference from what the same engine said, by the number format of its weights."""
ELSEWHERE: Final = {"float32": 1e-2, "bfloat16": 0.5, "float16": 0.1}
"""Largest mean difference from what the learner said: it computes with other kernels, often in another format."""


def probe_tokens(canary: Canary | None, vocab_size: int) -> npt.NDArray[np.int64]:
    """The tokens to ask about."""
    return np.array(canary.token_ids if canary else canary_tokens(vocab_size), np.int64)


class ProbeMemory:
    """What equal weights gave before."""

    def __init__(self, *, dtype: str) -> None:
        self._again, self._elsewhere = AGAIN.get(dtype, 0.5), ELSEWHERE.get(dtype, 0.5)
        self._seen: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()
        self.distance: float | None = None
        """Mean difference from the learner's log-probs in the last check that had some."""

    def check(self, logprobs: npt.NDArray[np.float32], *, digest: str, canary: Canary | None) -> None:
        """Raise ProbeFailedError for log-probs that are not finite or not what the weights give; remember them."""
        if not np.isfinite(logprobs).all():
            raise ProbeFailedError(f"the probe gave log-probs that are not finite: {logprobs}")
        if canary is not None:
            self._compare(logprobs, np.array(canary.logprobs, np.float32))
        before = self._seen.get(digest)
        if before is not None and len(before) == len(logprobs):
            distance = float(np.abs(logprobs - before).max())
            if distance > self._again:
                raise ProbeFailedError(f"the probe gave {logprobs}; the same weights gave {before} before")
        self._seen[digest] = logprobs
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)

    def _compare(self, logprobs: npt.NDArray[np.float32], learners: npt.NDArray[np.float32]) -> None:
        self.distance = float(np.abs(logprobs - learners).mean())
        if self.distance > self._elsewhere:
            raise ProbeFailedError(
                f"the probe gave {logprobs}; with the same weights the learner gave {learners}: they differ by "
                f"{self.distance:.3g} in the mean, the limit is {self._elsewhere}"
            )
