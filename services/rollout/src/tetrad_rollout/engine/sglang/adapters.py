"""Adapters beside a base that the server keeps: whether a version fits, and what the server is told of it. Pure."""

from collections.abc import Mapping, Set
from typing import Any, Final

from tetrad_rollout.engine.errors import LayoutError
from tetrad_rollout.engine.server_options import AdapterOptions
from tetrad_weights.layout import size_of
from tetrad_wire.messages.weights import AdapterSpec, Manifest, TensorSpec

PREFIX: Final = "base_model.model."
"""Before a layer's path, in peft's names."""
DOWN: Final = ".lora_A.weight"
UP: Final = ".lora_B.weight"
TOGETHER: Final[tuple[Set[str], ...]] = ({"q_proj", "v_proj"}, {"gate_proj", "up_proj"})
"""Layers that SGLang fuses: an adapter of one needs one of the others (`k_proj` may be left out, not be alone)."""


def check_adapters(manifest: Manifest, model: Mapping[str, TensorSpec], options: AdapterOptions) -> None:
    """Raise LayoutError unless the manifest holds adapters that fit the model and the server."""
    if manifest.adapter is None:
        raise LayoutError(
            f"the engine keeps its base and takes adapters alone; {manifest.digest} holds {len(manifest.tensors)} "
            "whole weights: set generator.enable_lora=false to have them synced merged"
        )
    if manifest.adapter.rank > options.rank:
        raise LayoutError(f"adapters of rank {manifest.adapter.rank}; the engine was started for rank {options.rank}")
    for spec in manifest.tensors:
        _check_factor(spec, model, rank=manifest.adapter.rank)
    _check_fused(manifest.adapter)


def server_config(adapter: AdapterSpec) -> dict[str, Any]:
    """What peft's adapter_config.json says, as far as SGLang reads it."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(adapter.target_modules),
    }


def _check_factor(spec: TensorSpec, model: Mapping[str, TensorSpec], *, rank: int) -> None:
    kind = next((suffix for suffix in (DOWN, UP) if spec.name.endswith(suffix)), None)
    layer = spec.name.removeprefix(PREFIX).removesuffix(kind or "")
    weight = model.get(f"{layer}.weight")
    if kind is None or weight is None or len(weight.shape) != 2:
        raise LayoutError(f"{spec.name} is no adapter of a layer of this model")
    rows, columns = weight.shape
    expected = (rank, columns) if kind == DOWN else (rows, rank)
    if tuple(spec.shape) != expected or spec.dtype != weight.dtype:
        raise LayoutError(
            f"{spec.name} is {spec.dtype}{list(spec.shape)}; an adapter of {layer} is {weight.dtype}{list(expected)}"
        )
    assert spec.num_bytes == size_of(spec.dtype, expected), "a manifest was checked when it came"


def _check_fused(adapter: AdapterSpec) -> None:
    chosen = {name.rpartition(".")[2] for name in adapter.target_modules}
    fused = {"q_proj": chosen & {"q_proj", "k_proj", "v_proj"}, "gate_proj": chosen & {"gate_proj", "up_proj"}}
    for needed, found in zip(TOGETHER, fused.values(), strict=True):
        if found and not needed <= found:
            raise LayoutError(
                f"SGLang fuses {', '.join(sorted(needed | found))} and serves no adapter of {', '.join(sorted(found))} "
                f"without {', '.join(sorted(needed - found))}; set generator.enable_lora=false to sync them merged"
            )
