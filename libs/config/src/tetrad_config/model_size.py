"""Model size: how many parameters a model has, and in which layers, without loading it.

From the headers of a folder's safetensors files, else from the name (`Qwen2.5-0.5B`); unknown otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Final

from tetrad_config.models import ALL_LINEAR, Lora

_IN_NAME: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([BM])(?![A-Za-z0-9])", re.IGNORECASE)
_UNIT: Final = {"B": 10**9, "M": 10**6}
# A header larger than this is not one: safetensors itself refuses it.
_MAX_HEADER_BYTES: Final = 100_000_000


# What models call their matrices at the two ends, which no adapter is given.
_ENDS: Final = frozenset({"embed_tokens", "embed_in", "embed_out", "lm_head", "shared", "wpe", "wte"})


def _shapes_in(path: Path) -> dict[str, list[int]]:
    """Return the shapes of one safetensors file's tensors: 8 bytes of header length, then JSON."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _MAX_HEADER_BYTES:
            raise ValueError(f"{path} has a header of {size} bytes; the limit is {_MAX_HEADER_BYTES}")
        header = json.loads(file.read(size))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def _shapes_of(folder: Path) -> dict[str, list[int]] | None:
    """Return the shapes of all tensors of a model folder; None where it is none or cannot be read."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    try:
        return {name: shape for file in files for name, shape in _shapes_in(file).items()} if files else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def num_parameters(model: str) -> int | None:
    """Return the parameters of a model folder or of a model whose name says it; None where neither does.

    >>> num_parameters("Qwen/Qwen2.5-0.5B-Instruct")
    500000000
    """
    folder = Path(model)
    if any(folder.glob("*.safetensors")):
        shapes = _shapes_of(folder)
        return None if shapes is None else sum(prod(shape) for shape in shapes.values())
    match = _IN_NAME.search(folder.name)
    return round(float(match[1]) * _UNIT[match[2].upper()]) if match else None


def num_heads(model: str) -> int | None:
    """Return the attention heads of a model folder; None where it is none or does not say."""
    try:
        found = json.loads((Path(model) / "config.json").read_bytes()).get("num_attention_heads")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, int) else None


def linear_layers(model: str) -> dict[str, tuple[int, int]] | None:
    """Return outputs and inputs of each linear layer between a model's two ends, by path; None for no local folder."""
    shapes = _shapes_of(Path(model))
    if shapes is None:
        return None
    matrices = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if name.endswith(".weight")}
    return {
        path: (shape[0], shape[1])
        for path, shape in matrices.items()
        if len(shape) == 2 and path.rpartition(".")[2] not in _ENDS
    }


def is_called(path: str, name: str) -> bool:
    """Whether a layer goes by a name: its path, the end of it, or its path in a model around this one.

    >>> is_called("layers.0.mlp.up_proj", "up_proj"), is_called("layers.0.mlp.up_proj", "proj")
    (True, False)
    """
    return path == name or path.endswith(f".{name}") or name.endswith(f".{path}")


def num_adapter_parameters(layers: Mapping[str, tuple[int, int]], lora: Lora) -> int:
    """Return the parameters of all adapters of a model with these layers."""
    return sum(
        lora.rank * (outputs + inputs)
        for path, (outputs, inputs) in layers.items()
        if (lora.target_modules == (ALL_LINEAR,) or any(is_called(path, name) for name in lora.target_modules))
        and not any(is_called(path, name) for name in lora.exclude_modules)
    )
