"""The Hugging Face half of a checkpoint: a folder that `from_pretrained` reads, whole weights in one file.

Adapters are merged into them, and lie beside them on their own.

Owns which files of the source model go along. Must not know of optimizers or of the other half.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from tetrad_learner.trainer.adapter_folder import AdapterCopy, copy_adapters
from tetrad_learner.trainer.export import WeightShape, dtype_called, gathered_weights, weight_shapes
from tetrad_learner.trainer.policy import Policy
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.safetensors_file import write_safetensors

WEIGHTS_FILE: Final = "model.safetensors"
# What a tokenizer may consist of, in any of the formats that transformers reads, and how to generate.
COPIED_FILES: Final = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates",
    "preprocessor_config.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HfCopy:
    """What rank 0 writes, in memory that training does not touch."""

    source: Path
    dtype: str
    weights: tuple[tuple[WeightShape, Tensor], ...]
    """Whole, in the stored dtype."""
    adapters: AdapterCopy | None = None
    """Where these are trained."""

    def write(self, folder: Path) -> None:
        """Write config, tokenizer files, `model.safetensors` and adapters into `folder`. Any thread."""
        folder.mkdir(parents=True, exist_ok=True)
        _write_config(self.source, folder, self.dtype)
        _copy_files(self.source, folder)
        shapes = [shape for shape, _tensor in self.weights]
        tensors = ((shape.name, tensor) for shape, tensor in self.weights)
        write_safetensors(folder / WEIGHTS_FILE, shapes=shapes, tensors=tensors)
        if self.adapters is not None:
            self.adapters.write(folder)


def copy_hf_weights(policy: Policy, *, source: Path, dtype: str, ranks: Ranks) -> HfCopy | None:
    """Gather the whole weights in the memory of rank 0's host; collective, None on the other ranks."""
    adapters = None if policy.adapters is None else copy_adapters(policy.adapters, ranks)
    shapes = tuple(_stored(weight, dtype) for weight in weight_shapes(policy))
    gathered = zip(shapes, gathered_weights(policy), strict=True)
    if not ranks.is_first:
        for _ in gathered:
            pass
        return None
    weights = tuple((shape, whole.to(dtype_called(shape.dtype), copy=True)) for shape, (_name, whole) in gathered)
    return HfCopy(source=source, dtype=dtype, weights=weights, adapters=adapters)


def _stored(weight: WeightShape, dtype: str) -> WeightShape:
    """Weights are stored in `dtype`; what is not floating (a counter) stays as it is."""
    return dataclasses.replace(weight, dtype=dtype) if dtype_called(weight.dtype).is_floating_point else weight


def _write_config(source: Path, folder: Path, dtype: str) -> None:
    config = json.loads((source / "config.json").read_text())
    config.pop("torch_dtype", None)  # the older name of the same key
    config["dtype"] = str(dtype_called(dtype)).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _copy_files(source: Path, folder: Path) -> None:
    for name in COPIED_FILES:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, folder / name, dirs_exist_ok=True)
        elif path.exists():
            shutil.copyfile(path, folder / name)
