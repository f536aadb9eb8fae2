"""Two flat buffers of parameters: the live one, that the model reads, and the stage, that is being filled.

Owns their bytes and layouts. A commit swaps them and copies nothing. Must not know versions, states or torch.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from tetrad_rollout.engine.errors import LayoutError, WeightStateError
from tetrad_rollout.engine.protocol import WeightLayout
from tetrad_weights.digest import Bytes, DigestAlgorithm
from tetrad_weights.layout import ALIGNMENT, Layout
from tetrad_weights.manifest import build
from tetrad_wire.messages.weights import Manifest, TensorSpec

DigestFunction = Callable[[Bytes, WeightLayout], str]

# Offsets must at least suit the largest element type.
_WORD: Final = 8


def aligned_zeros(num_bytes: int) -> Bytes:
    """A zeroed uint8 buffer whose first byte is aligned.

    Matrix kernels may give other last bits for another alignment, so the live and the stage buffer must agree.
    """
    raw = np.zeros(num_bytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + num_bytes]


def manifest_digest(buffer: Bytes, layout: WeightLayout) -> str:
    """The digest that a manifest of these bytes has; by the layout's own algorithm where it is a manifest."""
    algorithm = DigestAlgorithm(layout.algorithm) if isinstance(layout, Manifest) else DigestAlgorithm.XXH3_128
    # One thread: the cores belong to the forwards.
    return build(
        Layout(tensors=layout.tensors, num_bytes=layout.num_bytes), buffer, algorithm=algorithm, num_threads=1
    ).digest


class FlatWeights:
    """The live and the stage buffer of one model."""

    def __init__(self, layout: WeightLayout, *, digest: DigestFunction = manifest_digest) -> None:
        self._model = {spec.name: spec for spec in layout.tensors}
        self._digest = digest
        self.live: Bytes = aligned_zeros(layout.num_bytes)
        self.live_layout = layout
        self._spare: Bytes | None = None
        self._stage: Bytes | None = None
        self._stage_layout = layout
        self._is_in_place = False

    def begin_stage(self, layout: WeightLayout) -> Bytes:
        """A writable view of the stage buffer; its old content means nothing."""
        check_fits(layout, self._model)
        if self._spare is None or self._spare.size != layout.num_bytes:
            self._spare = aligned_zeros(layout.num_bytes)
        # A view of its own, so that it can be closed for writing when the stage is verified.
        self._stage, self._stage_layout, self._is_in_place = self._spare.view(), layout, False
        return self._stage

    @property
    def needed_to_stage(self) -> int:
        """Bytes that the next stage allocates; 0 where it has its memory already."""
        return 0 if self._spare is not None else self.live.size

    def begin_in_place(self, layout: WeightLayout) -> Bytes:
        """A writable view of the live buffer, to be filled like a stage; a swap then changes its layout alone."""
        check_fits(layout, self._model)
        if layout.num_bytes != self.live.size:
            raise LayoutError(f"the layout has {layout.num_bytes} bytes, the live weights {self.live.size}")
        self._stage, self._stage_layout, self._is_in_place = self.live.view(), layout, True
        return self._stage

    def staged_digest(self) -> str:
        """Of the stage buffer's bytes; takes a while and may run on any thread."""
        return self._digest(self._staged(), self._stage_layout)

    def seal_stage(self) -> None:
        """No more writes through the view that was handed out."""
        self._staged().flags.writeable = False

    def swap(self) -> None:
        """The stage becomes live, and what was live the next stage's memory."""
        self._staged()
        if not self._is_in_place:
            assert self._spare is not None
            self.live, self._spare = self._spare, self.live
        self.live_layout, self._stage = self._stage_layout, None

    def live_digest(self) -> str:
        """Of the live buffer's bytes, in the layout that they came in."""
        return self._digest(self.live, self.live_layout)

    def release_stage(self) -> None:
        """Give the stage buffer's memory back; the next stage allocates anew."""
        self._spare = self._stage = None

    def _staged(self) -> Bytes:
        if self._stage is None:
            raise WeightStateError("nothing is staged; call begin_stage first")
        return self._stage


def check_fits(layout: WeightLayout, model: Mapping[str, TensorSpec]) -> None:
    """Refuse a layout whose names, dtypes, shapes or places are not those of the model's parameters."""
    names = {spec.name for spec in layout.tensors}
    if names != set(model):
        missing, unknown = sorted(set(model) - names)[:3], sorted(names - set(model))[:3]
        raise LayoutError(
            f"the layout has {len(names)} tensors, the model {len(model)}; missing: {missing}; unknown: {unknown}"
        )
    for spec in layout.tensors:
        _check_tensor(spec, model[spec.name], limit=layout.num_bytes)


def _check_tensor(told: TensorSpec, own: TensorSpec, *, limit: int) -> None:
    if (told.dtype, tuple(told.shape), told.num_bytes) != (own.dtype, tuple(own.shape), own.num_bytes):
        raise LayoutError(
            f"{told.name} is {told.dtype}{list(told.shape)} of {told.num_bytes} bytes in the layout; "
            f"the model has {own.dtype}{list(own.shape)} of {own.num_bytes}"
        )
    if told.offset < 0 or told.offset % _WORD or told.offset + told.num_bytes > limit:
        end = told.offset + told.num_bytes
        raise LayoutError(f"{told.name} is at [{told.offset}, {end}); must be in [0, {limit}), a multiple of {_WORD}")
