"""Known shapes: the linear layers of a model whose files are not here, by its name. Pure.

Of families that are trained often the shapes are as published; of any other model whose name has a size they are those
of a decoder with as many parameters. Whoever prints what follows from either says that it is an estimate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Shape:
    """One decoder's."""

    num_layers: int
    hidden: int
    intermediate: int
    """Of the gated MLP."""
    keys: int
    """Outputs of the projections to keys and values, each."""
    queries: int = 0
    """Outputs of the projection to queries; 0 for as many as `hidden`."""

    def layers(self) -> dict[str, tuple[int, int]]:
        """Outputs and inputs of each linear layer, by path."""
        hidden, queries = self.hidden, self.queries or self.hidden
        one = {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (self.keys, hidden),
            "self_attn.v_proj": (self.keys, hidden),
            "self_attn.o_proj": (hidden, queries),
            "mlp.gate_proj": (self.intermediate, hidden),
            "mlp.up_proj": (self.intermediate, hidden),
            "mlp.down_proj": (hidden, self.intermediate),
        }
        return {f"model.layers.{index}.{path}": size for index in range(self.num_layers) for path, size in one.items()}


SHAPES: Final = {
    "qwen2.5-0.5b": Shape(24, 896, 4864, 128),
    "qwen2.5-1.5b": Shape(28, 1536, 8960, 256),
    "qwen2.5-3b": Shape(36, 2048, 11008, 256),
    "qwen2.5-7b": Shape(28, 3584, 18944, 512),
    "qwen2.5-14b": Shape(48, 5120, 13824, 1024),
    "qwen2.5-32b": Shape(64, 5120, 27648, 1024),
    "qwen2.5-72b": Shape(80, 8192, 29568, 1024),
    "qwen3-0.6b": Shape(28, 1024, 3072, 1024, 2048),
    "qwen3-1.7b": Shape(28, 2048, 6144, 1024),
    "qwen3-4b": Shape(36, 2560, 9728, 1024, 4096),
    "qwen3-8b": Shape(36, 4096, 12288, 1024),
    "llama-3.2-1b": Shape(16, 2048, 8192, 512),
    "llama-3.2-3b": Shape(28, 3072, 8192, 1024),
    "llama-3.1-8b": Shape(32, 4096, 14336, 1024),
    "smollm2-135m": Shape(30, 576, 1536, 192),
    "smollm2-360m": Shape(32, 960, 2560, 320),
    "smollm2-1.7b": Shape(24, 2048, 8192, 2048),
}
"""By the beginning of a name, without its owner, in lower case."""

# Of a decoder: an intermediate size of 3.5, keys of a quarter, and a layer for each 128 of the hidden size.
_PARAMETERS_PER_CUBE: Final = 13 / 128
_WIDTH_PER_LAYER: Final = 128


def estimated_layers(model: str, *, parameters: int | None) -> dict[str, tuple[int, int]] | None:
    """Outputs and inputs of each linear layer of a model that is known by its name or size alone; None by neither.

    >>> layers = estimated_layers("Qwen/Qwen2.5-0.5B-Instruct", parameters=None)
    >>> sum(outputs + inputs for outputs, inputs in layers.values())
    549888
    """
    name = model.rstrip("/").rpartition("/")[2].lower()
    for known, shape in SHAPES.items():
        if re.match(rf"{re.escape(known)}(?![\w.])", name):
            return shape.layers()
    return None if parameters is None else _of_size(parameters).layers()


def _of_size(parameters: int) -> Shape:
    hidden = max(_WIDTH_PER_LAYER, round((parameters / _PARAMETERS_PER_CUBE) ** (1 / 3)))
    return Shape(max(1, round(hidden / _WIDTH_PER_LAYER)), hidden, hidden * 7 // 2, hidden // 4)
