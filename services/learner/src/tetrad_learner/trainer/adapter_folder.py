"""The adapter folder of a checkpoint, in peft's format: `PeftModel.from_pretrained(base, FOLDER/adapter)` reads it.

Beside the merged weights it says the same in a hundredth of the bytes, in float32. Must not know of the rest of the
checkpoint.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from tetrad_learner.trainer.adapters import PREFIX, Adapters, whole_tensor
from tetrad_learner.trainer.export import WeightShape, dtype_name
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.safetensors_file import write_safetensors

if TYPE_CHECKING:
    from peft import LoraConfig

ADAPTER_FOLDER: Final = "adapter"
ADAPTER_FILE: Final = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterCopy:
    """What rank 0 writes, in memory that training does not touch."""

    config: LoraConfig
    factors: tuple[tuple[str, Tensor], ...]
    """Whole, in float32."""

    def write(self, folder: Path) -> None:
        """Write `adapter/` into `folder`. Any thread."""
        target = folder / ADAPTER_FOLDER
        target.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(str(target))
        shapes = [
            WeightShape(name=name, dtype=dtype_name(factor.dtype), shape=tuple(factor.shape))
            for name, factor in self.factors
        ]
        write_safetensors(target / ADAPTER_FILE, shapes=shapes, tensors=self.factors)


@torch.no_grad()
def copy_adapters(adapters: Adapters, ranks: Ranks) -> AdapterCopy | None:
    """Gather the adapters in the memory of rank 0's host; collective, None on the other ranks."""
    gathered = ((name, whole_tensor(factor).detach()) for name, factor in adapters.named_factors())
    factors = tuple((PREFIX + name, whole.to("cpu", copy=True)) for name, whole in gathered)
    if not ranks.is_first:
        return None
    config = deepcopy(adapters.config)
    config.inference_mode = True
    return AdapterCopy(config=config, factors=factors)
