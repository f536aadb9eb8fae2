"""A tiny forward that tells whether an engine computes with the weights it says it has. Pure."""

from collections import OrderedDict
from typing import Final

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.errors import ProbeFailedError
from tetrad_rollout.engine.runner import PROBE_LENGTH

_STRIDE: Final = 7919
_KEPT: Final = 4


def probe_ids(vocab_size: int) -> npt.NDArray[np.int64]:
    """The fixed tokens [PROBE_LENGTH + 1], spread over the vocabulary."""
    ids: npt.NDArray[np.int64] = np.arange(1, PROBE_LENGTH + 2) * _STRIDE % vocab_size
    return ids


class ProbeMemory:
    """What equal weights gave before."""

    def __init__(self, *, tolerance: float) -> None:
        self._tolerance = tolerance
        self._seen: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()

    def check(
        self, logprobs: npt.NDArray[np.float32], *, digest: str, expected: npt.NDArray[np.float32] | None
    ) -> None:
        """Raise ProbeFailedError for log-probs that are not finite or not what the same weights gave; remember them."""
        if not np.isfinite(logprobs).all():
            raise ProbeFailedError(f"the probe gave log-probs that are not finite: {logprobs}")
        for reference in (expected, self._seen.get(digest)):
            if reference is not None and not np.allclose(logprobs, reference, rtol=0.0, atol=self._tolerance):
                raise ProbeFailedError(f"the probe gave {logprobs}; the same weights gave {reference} elsewhere")
        self._seen[digest] = logprobs
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
