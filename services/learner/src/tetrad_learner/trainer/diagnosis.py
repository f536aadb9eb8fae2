"""Looks for the first number that is not finite: in weights and gradients, and in what modules put out.

Owns no decision. Reads tensors that are there anyway, each rank its own shards; must not know of batches or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def is_finite(tensor: Tensor) -> bool:
    """Whether this rank's part of a tensor holds neither NaN nor infinity; integers always are finite."""
    here = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return not here.is_floating_point() or bool(torch.isfinite(here).all())


def strange_tensors(module: nn.Module) -> Iterator[str]:
    """Yield `weight NAME`, then `gradient of NAME`, of what is not finite, in the module's own order."""
    parameters = list(module.named_parameters())
    for name, parameter in parameters:
        if not is_finite(parameter.detach()):
            yield f"weight {name}"
    for name, parameter in parameters:
        if parameter.grad is not None and not is_finite(parameter.grad):
            yield f"gradient of {name}"


@dataclass(slots=True)
class FirstStrange:
    """The first module, in the order of computation, whose output was not finite."""

    name: str | None = None


@contextmanager
def watched(module: nn.Module) -> Iterator[FirstStrange]:
    """Watch every forward pass within the body; costs a look at each output."""
    seen = FirstStrange()
    handles = [part.register_forward_hook(_hook(seen, name)) for name, part in module.named_modules() if name]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _hook(seen: FirstStrange, name: str) -> Callable[[nn.Module, Any, Any], None]:
    def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if seen.name is None and not all(is_finite(tensor) for tensor in _tensors_in(output)):
            seen.name = name

    return look


def _tensors_in(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for value in output.values():
            yield from _tensors_in(value)
    elif isinstance(output, (list, tuple)):
        for value in output:
            yield from _tensors_in(value)
