"""Adapters: low-rank corrections of frozen layers (LoRA, arXiv:2106.09685), made and kept by peft.

Owns which layers have one, what it adds to a layer's weight, and how all are switched off. peft is loaded only where
there are adapters: its import takes seconds. Must not know of gradients, optimizers or files.
"""

# O outputs of a layer · I its inputs · K rank

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tetrad_learner.trainer.errors import AdapterError
from tetrad_learner.trainer.options import ALL_LINEAR, LoraInit, LoraOptions

if TYPE_CHECKING:
    from peft import LoraConfig
    from peft.tuners.lora import LoraLayer

FACTORS: Final = ("lora_A", "lora_B")
"""K×I and O×K, as peft calls them."""
# peft keeps several adapters of a layer under a name each; there is one.
ADAPTER: Final = "default"
BASE: Final = ".base_layer."
# Where peft wraps the model that the adapters were made for: the beginning of the names in its files.
PREFIX: Final = "base_model.model."


class Adapters:
    """The adapters of one model."""

    def __init__(self, config: LoraConfig, layers: Mapping[str, LoraLayer]) -> None:
        self.config = config
        self._layers = layers

    @property
    def num_layers(self) -> int:
        """Layers that have one."""
        return len(self._layers)

    def named_factors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the live factors as `LAYER.lora_A.weight` and `LAYER.lora_B.weight`: the names in peft's files."""
        for path, layer in self._layers.items():
            for factor in FACTORS:
                yield f"{path}.{factor}.weight", getattr(layer, factor)[ADAPTER].weight

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the same under their names in the model, where each adapter of a layer has its own."""
        for name, tensor in self.named_factors():
            yield f"{name.removesuffix('.weight')}.{ADAPTER}.weight", tensor

    def base_name(self, name: str) -> str | None:
        """Return the name that a tensor of the model has without adapters; None for what belongs to one.

        A layer with an adapter keeps its own weight one level deeper.
        """
        path, is_base, leaf = name.rpartition(BASE)
        if is_base and path in self._layers:
            return f"{path}.{leaf}"
        return None if any(f".{factor}." in name for factor in FACTORS) else name

    def correction(self, name: str) -> Tensor | None:
        """Return what is to be added to a weight, whole: alpha / K · B·A; None without an adapter; collective."""
        path, _, leaf = name.rpartition(".")
        if leaf != "weight" or path not in self._layers:
            return None
        layer = self._layers[path]
        down_KI, up_OK = (whole_tensor(getattr(layer, factor)[ADAPTER].weight) for factor in FACTORS)
        correction_OI: Tensor = (up_OK @ down_KI) * layer.scaling[ADAPTER]
        # GPT-2's layers keep their weight the other way round.
        return correction_OI.T if getattr(layer, "fan_in_fan_out", False) else correction_OI

    @contextmanager
    def off(self) -> Iterator[None]:
        """Within the body, the model is its base. No gradient may be computed there."""
        self._switch(is_on=False)
        try:
            yield
        finally:
            self._switch(is_on=True)

    def _switch(self, *, is_on: bool) -> None:
        for layer in self._layers.values():
            layer.enable_adapters(is_on)
        # peft takes the gradient from what is off. FSDP2 looks once, in the first pass of all, for what it will have to
        # reduce and in which number format; that pass may be the reference's.
        for _name, factor in self.named_factors():
            factor.requires_grad_()


def add_adapters(causal_lm: PreTrainedModel, lora: LoraOptions, *, seed: int, base: str) -> Adapters:
    """Give the chosen layers adapters that change nothing yet; raises AdapterError where the choice fits no layer.

    The model is changed in place. The draw depends on the seed alone, and leaves the process's random state as it is.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    chosen = chosen_layers(causal_lm, lora)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=lora.dropout,
        target_modules=_targets(lora, chosen),
        exclude_modules=[*lora.exclude_modules] or None,
        init_lora_weights=True if lora.init_method is LoraInit.KAIMING else "gaussian",
        base_model_name_or_path=base,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(config, causal_lm, ADAPTER)
    layers = {path: module for path, module in causal_lm.named_modules() if isinstance(module, LoraLayer)}
    if set(layers) != set(chosen):
        strange = ", ".join(sorted(set(layers) ^ set(chosen)))
        raise AdapterError(f"peft and Tetrad disagree on whether these layers get an adapter: {strange}")
    _put_in_order(config)
    return Adapters(config, layers)


def chosen_layers(causal_lm: PreTrainedModel, lora: LoraOptions) -> list[str]:
    """Return the paths of the layers that get an adapter; every name that was given must have found one."""
    linear = [path for path, module in causal_lm.named_modules() if isinstance(module, (nn.Linear, Conv1D))]
    outputs = causal_lm.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers' own
    heads = {path for path, module in causal_lm.named_modules() if module is outputs}
    layers = [path for path in linear if path not in heads]
    _check_names("target_modules", () if _is_all(lora) else lora.target_modules, layers, heads)
    _check_names("exclude_modules", lora.exclude_modules, layers, heads=set())
    chosen = [
        path
        for path in layers
        if (_is_all(lora) or _is_called(path, lora.target_modules)) and not _is_called(path, lora.exclude_modules)
    ]
    if not chosen:
        raise AdapterError(f"exclude_modules {', '.join(lora.exclude_modules)} leaves no layer to train")
    return chosen


def whole_tensor(tensor: Tensor) -> Tensor:
    """Return the whole of what may be sharded, on the ranks' device; collective where it is."""
    if not isinstance(tensor, DTensor):
        return tensor
    # A lone rank has all of it; the detour through the collective costs more than the copy.
    return tensor.to_local() if tensor.device_mesh.size() == 1 else tensor.full_tensor()


def _targets(lora: LoraOptions, chosen: list[str]) -> list[str]:
    """`all-linear` spelled out: it would mean whatever the reader of a checkpoint takes for linear."""
    return sorted({path.rpartition(".")[2] for path in chosen}) if _is_all(lora) else [*lora.target_modules]


def _is_all(lora: LoraOptions) -> bool:
    return lora.target_modules == (ALL_LINEAR,)


def _is_called(path: str, names: tuple[str, ...]) -> bool:
    """As peft looks at it: by the whole path or by its end."""
    return any(path == name or path.endswith(f".{name}") for name in names)


def _check_names(key: str, names: tuple[str, ...], layers: list[str], heads: set[str]) -> None:
    for name in names:
        if any(_is_called(head, (name,)) for head in heads):
            raise AdapterError(
                f"{key}: {name} is the output layer, and log-probabilities are computed from its weight in chunks, "
                "past any adapter; leave it out"
            )
        if not any(_is_called(path, (name,)) for path in layers):
            known = ", ".join(sorted({path.rpartition(".")[2] for path in layers}))
            raise AdapterError(f"{key}: this model has no linear layer {name}; it has {known}")


def _put_in_order(config: LoraConfig) -> None:
    """Sort the names, which peft keeps as sets: the same adapters shall give the same file."""
    for key in ("target_modules", "exclude_modules"):
        if isinstance(names := getattr(config, key), (set, list)):
            setattr(config, key, sorted(names))
