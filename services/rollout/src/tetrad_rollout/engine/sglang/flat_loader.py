"""Inside SGLang's scheduler process: a whole version copied into the parameters in a few launches.

SGLang's own loader goes through the model tensor by tensor, which for a small model takes longer than the copy. Where
each tensor of the version is the whole of what the scheduler holds under that name, copying it there is the same; where
it is not (an engine over several GPUs, other shapes or formats, a model that computes something from its weights), the
version is left to SGLang. The probe compares what is held afterwards, whoever has loaded it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tetrad_rollout.engine.sglang.stage import FLAT, METADATA, Piece, dtype_called, sglangs

# SGLang's process logs as SGLang does.
log = logging.getLogger(__name__)

Loader = Callable[[dict[str, Any]], tuple[bool, str]]
"""SGLang's: takes a flat buffer and its description; says whether that went well."""
Held = Callable[[], Mapping[str, Tensor]]
"""A model's parameters under their names in a checkpoint; views, not copies."""


class FlatLoader:
    """Takes the place of SGLang's loader of flat buffers for one model."""

    def __init__(self, model: nn.Module, theirs: Loader, held: Held) -> None:
        self._theirs, self._held = theirs, held
        self._derived = derived(model)
        self._route = Route({}, [])
        self._is_told = False

    @torch.no_grad()
    def __call__(self, flattened_tensor_bucket_dict: dict[str, Any]) -> tuple[bool, str]:
        """Load a version, described by pieces; the name of the argument is SGLang's."""
        flat: Tensor = flattened_tensor_bucket_dict[FLAT]
        described: Sequence[Piece] = flattened_tensor_bucket_dict[METADATA]
        held = self._held()
        if not self._route.leads(held, described):
            self._route = Route(held, described)
        if reason := self._derived or self._route.reason:
            self._tell(reason)
            return self._theirs({FLAT: flat, METADATA: sglangs(described)})
        self._route.copy(flat)
        if flat.is_cuda:
            # The buffer is another process's: it may be written again as soon as this returns.
            torch.cuda.current_stream(flat.device).synchronize()
        return True, "Success"

    def _tell(self, reason: str) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning("SGLang's own loader takes new weights, tensor by tensor: %s", reason)


class Route:
    """Where each piece of a version goes; one version after the other goes the same way."""

    def __init__(self, held: Mapping[str, Tensor], described: Sequence[Piece]) -> None:
        self._held, self._described = held, described
        found = targets_of(held, described)
        self.reason = found if isinstance(found, str) else ""
        """Why a version is not copied so; empty where it is."""
        self._targets = [] if isinstance(found, str) else found
        self._cuts = cuts_of(described, self._targets) if self._targets else None
        if self._cuts is not None:
            self._targets = [target.view(-1) for target in self._targets]

    def leads(self, held: Mapping[str, Tensor], described: Sequence[Piece]) -> bool:
        """Whether it is the way of such a version into these very tensors."""
        return held is self._held and described == self._described

    def copy(self, flat: Tensor) -> None:
        """Overwrite what is held with the pieces of uint8 memory."""
        if self._cuts is None:
            sources = sources_of(flat, self._described, self._targets)
        else:
            typed = as_type(flat, self._targets[0].dtype)
            lengths = [*self._cuts, typed.numel() - sum(self._cuts)]
            sources = list(typed.split(lengths)[1::2])  # type: ignore[no-untyped-call] # of torch
        torch._foreach_copy_(self._targets, sources)


def derived(model: nn.Module) -> str:
    """Return what a model may have computed from its weights when they were loaded, in words; empty where nothing.

    SGLang keeps such things beside the parameters: as plain attributes, or it has a hook that makes them.
    """
    if hasattr(model, "post_load_weights"):
        return "the model has post_load_weights"
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                return f"{path}.{name} is a tensor that is no parameter"
    return ""


def targets_of(held: Mapping[str, Tensor], described: Sequence[Piece]) -> list[Tensor] | str:
    """Return the held tensor of each piece, less the padding of its rows; or why that cannot be."""
    names = {name for name, *_rest in described}
    if others := sorted(names ^ held.keys()):
        return f"{others[0]} is {'not held' if others[0] in names else 'held and not brought'}"
    targets = []
    for name, dtype, shape, _start, _end in described:
        target = held[name]
        # Of padding in other places, as an engine on a CPU has it, SGLang's loader knows more.
        rows = target[: shape[0]] if shape and target.dim() == len(shape) else target
        if rows.shape != shape or rows.dtype != dtype_called(dtype):
            return f"{name} is {target.dtype} {list(target.shape)}; {dtype} {list(shape)} is brought"
        targets.append(rows)
    return targets


def cuts_of(described: Sequence[Piece], targets: Sequence[Tensor]) -> list[int] | None:
    """Return the elements of gap, piece, gap, piece …; None where the pieces differ in type or lie otherwise."""
    size, cuts, place = targets[0].element_size(), [], 0
    for (_name, _dtype, _shape, start, end), target in zip(described, targets, strict=True):
        if target.dtype != targets[0].dtype or not target.is_contiguous() or start % size or start < place:
            return None
        cuts += [(start - place) // size, (end - start) // size]
        place = end
    return cuts


def as_type(flat: Tensor, dtype: torch.dtype) -> Tensor:
    """Return uint8 memory as elements, less what does not fill one at its end."""
    return flat[: flat.numel() // dtype.itemsize * dtype.itemsize].view(dtype)


def sources_of(flat: Tensor, described: Sequence[Piece], targets: Sequence[Tensor]) -> list[Tensor]:
    """Return each piece of uint8 memory as its target's like."""
    typed: dict[torch.dtype, Tensor] = {}
    sources = []
    for (_name, _dtype, shape, start, end), target in zip(described, targets, strict=True):
        size = target.element_size()
        if start % size or not target.is_contiguous():
            sources.append(flat[start:end].view(target.dtype).view(shape))
            continue
        if target.dtype not in typed:
            typed[target.dtype] = as_type(flat, target.dtype)
        sources.append(typed[target.dtype].as_strided(shape, target.stride(), start // size))
    return sources
