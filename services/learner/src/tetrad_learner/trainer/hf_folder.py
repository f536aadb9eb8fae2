"""The Hugging Face half of a checkpoint: a folder that `from_pretrained` reads, whole weights in one file.

Owns which files of the source model go along. Must not know of optimizers or of the other half.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Final

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


def save_hf_folder(policy: Policy, *, folder: Path, source: Path, dtype: str, ranks: Ranks) -> None:
    """Write config, tokenizer files and `model.safetensors` into `folder`; collective, rank 0 writes."""
    shapes = tuple(_stored(weight, dtype) for weight in weight_shapes(policy))
    if not ranks.is_first:
        for _ in gathered_weights(policy):
            pass
        return
    folder.mkdir(parents=True, exist_ok=True)
    _write_config(source, folder, dtype)
    _copy_files(source, folder)
    write_safetensors(folder / WEIGHTS_FILE, shapes=shapes, tensors=gathered_weights(policy))


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
