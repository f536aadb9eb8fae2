"""What a rank publishes: all weights, adapters merged, or the adapters alone with a word on their base.

Collective where it touches values: all ranks call it alike.
"""

from collections.abc import Sequence

import numpy as np
import torch

from tetrad_devices.digest import sum64
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.export import Part, window
from tetrad_weights.copying import digest_tensors
from tetrad_weights.digest import Bytes, DigestAlgorithm
from tetrad_weights.layout import Layout, Parameter, lay_out
from tetrad_weights.manifest import from_digests
from tetrad_wire.messages.weights import AdapterSpec


class Exports:
    """The published part of one trainer's policy."""

    def __init__(self, trainer: Trainer, *, dtype: str, adapters_only: bool = False) -> None:
        self._trainer = trainer
        self._dtype = dtype
        self._adapter: AdapterSpec | None = None
        self.part = Part.ADAPTERS if adapters_only else Part.MERGED
        # In the engines' number format: they take bytes as they are.
        self.layout = self._layout_of(self.part)

    def fill(self, buffer: Bytes | None) -> None:
        """Copy what is published into rank 0's buffer; the other ranks pass None."""
        self._trainer.export_into(buffer, self.layout.tensors, part=self.part)

    def fill_on_device(self, buffer: torch.Tensor) -> None:
        """Copy what is published into memory on each rank's GPU."""
        self._trainer.export_on_device(buffer, self.layout.tensors, part=self.part)

    def adapter(self, algorithm: DigestAlgorithm) -> AdapterSpec | None:
        """What the published adapters belong to; None where whole weights are published.

        The base never changes in a run: its digest is taken once.
        """
        if self.part is not Part.ADAPTERS:
            return None
        if self._adapter is None:
            self._adapter = self._described(algorithm)
        return self._adapter

    def _described(self, algorithm: DigestAlgorithm) -> AdapterSpec:
        layout, config = self._layout_of(Part.BASE), self._trainer.adapter_config
        assert config is not None, "a run that publishes adapters has some"
        digests = self._base_digests(layout, algorithm)
        return AdapterSpec(
            base=from_digests(layout, digests, algorithm=algorithm).digest,
            rank=config.r,
            alpha=float(config.lora_alpha),
            target_modules=tuple(sorted(config.target_modules or ())),
        )

    def _base_digests(self, layout: Layout, algorithm: DigestAlgorithm) -> Sequence[str]:
        device = self._trainer.ranks.device
        if algorithm is DigestAlgorithm.SUM64 and device.type == "cuda":
            memory = torch.empty(layout.num_bytes, dtype=torch.uint8, device=device)
            self._trainer.export_on_device(memory, layout.tensors, part=Part.BASE)
            return sum64([window(memory, spec) for spec in layout.tensors])
        buffer = np.zeros(layout.num_bytes, np.uint8) if self._trainer.ranks.is_first else None
        self._trainer.export_into(buffer, layout.tensors, part=Part.BASE)
        if buffer is None:
            return [""] * len(layout.tensors)
        return digest_tensors(buffer, layout.tensors, algorithm=algorithm)

    def _layout_of(self, part: Part) -> Layout:
        return lay_out(Parameter(s.name, self._dtype, s.shape) for s in self._trainer.weight_shapes(part))
