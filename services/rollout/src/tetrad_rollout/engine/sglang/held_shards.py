"""Tensors that are split over the GPUs of one engine: put together again on its first one, and digested there.

What an engine over several GPUs computes with is proved by its whole tensors, as a manifest names them: SGLang cuts
each along one axis, and where there are more GPUs than heads to give away, or a tensor is not cut at all, several GPUs
hold the same. All of these must be equal.
"""

# n GPUs · k of them hold one whole tensor · n / k copies of it

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from tetrad_rollout.engine.sglang.held_digests import digests_of

MOST_BYTES: Final = 256 << 20
"""Whole tensors that are together on the first GPU at a time, unless one alone is larger."""

Shapes = Mapping[str, Sequence[int]]


class Group(Protocol):
    """The processes of one engine, one for each of its GPUs."""

    size: int

    def gather(self, tensor: Tensor) -> list[Tensor] | None:
        """Every process's tensor, of equal shapes, on the first of them; None on the others. Collective."""
        ...


class TorchGroup:
    """A process group of torch, whose backend moves tensors of the device that they are on."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group = group
        self.size = dist.get_world_size(group)
        self._first = dist.get_process_group_ranks(group)[0]

    def gather(self, tensor: Tensor) -> list[Tensor] | None:
        """See `Group.gather`."""
        mine = tensor.contiguous().reshape(-1).view(torch.uint8)
        is_first = dist.get_rank() == self._first
        theirs = [torch.empty_like(mine) for _ in range(self.size)] if is_first else None
        dist.gather(mine, theirs, dst=self._first, group=self._group)
        return None if theirs is None else [part.view(tensor.dtype).reshape(tensor.shape) for part in theirs]


def digests_over(group: Group, tensors: Mapping[str, Tensor], shapes: Shapes, algorithm: str) -> dict[str, str]:
    """Return the digest of each whole tensor, on the first process; nothing on the others. Collective.

    Where several GPUs should hold the same and do not, or where shards do not make up the shape, the text says so: it
    equals no digest. Whatever fails on the first one is raised at the end: the others would wait for it.
    """
    found: dict[str, str] = {}
    failure: Exception | None = None
    for names in _batches(tensors, shapes):
        gathered = {name: group.gather(tensors[name]) for name in names}
        try:
            found |= _digests({name: parts for name, parts in gathered.items() if parts is not None}, shapes, algorithm)
        except (RuntimeError, ValueError) as error:
            failure = error
    if failure is not None:
        raise failure
    return found


def wholes(shards: Sequence[Tensor], shape: Sequence[int]) -> list[Tensor]:
    """Put one tensor together, once for every time that the GPUs hold it; empty where the shards do not make it up.

    >>> halves = [torch.tensor([[1, 2]]), torch.tensor([[3, 4]])]
    >>> [whole.tolist() for whole in wholes(halves, (2, 2))]
    [[[1, 2], [3, 4]]]
    >>> [whole.tolist() for whole in wholes(halves, (1, 2))]
    [[[1, 2]], [[3, 4]]]
    """
    held, num = tuple(shards[0].shape), len(shards)
    if len(held) != len(shape):
        return []
    cut = [axis for axis, (mine, full) in enumerate(zip(held, shape, strict=True)) if mine < full]
    if len(cut) > 1:
        return []
    needed = 1 if not cut else -(-shape[cut[0]] // held[cut[0]])
    if num % needed:
        return []
    # Neighbours hold the same: SGLang gives head h to the ranks h · copies … (h + 1) · copies - 1.
    copies = num // needed
    wanted = tuple(slice(extent) for extent in shape)
    if not cut:
        return [shard[wanted] for shard in shards]
    return [torch.cat(tuple(shards[first::copies]), dim=cut[0])[wanted] for first in range(copies)]


def _digests(gathered: Mapping[str, list[Tensor]], shapes: Shapes, algorithm: str) -> dict[str, str]:
    copies: dict[str, Tensor] = {}
    keys: dict[str, list[str]] = {}
    for name, shards in gathered.items():
        whole = wholes(shards, shapes[name])
        keys[name] = [f"{copy} {name}" for copy in range(len(whole))]
        copies |= dict(zip(keys[name], (tensor.contiguous() for tensor in whole), strict=True))
    digests = digests_of(copies, algorithm) if copies else {}
    return {name: _agreed([digests[key] for key in keys[name]], gathered[name], shapes[name]) for name in gathered}


def _agreed(digests: Sequence[str], shards: Sequence[Tensor], shape: Sequence[int]) -> str:
    if not digests:
        return f"none: {len(shards)} shards of {list(shards[0].shape)} do not make up {list(shape)}"
    if len(set(digests)) > 1:
        return f"none: GPUs that should hold the same hold {', '.join(digests)}"
    return digests[0]


def _batches(tensors: Mapping[str, Tensor], shapes: Shapes) -> Iterator[list[str]]:
    """Names in an order that all processes share, so many that the whole tensors of each batch are few bytes."""
    batch: list[str] = []
    num_bytes = 0
    for name in sorted(tensors):
        size = torch.Size(shapes[name]).numel() * tensors[name].element_size()
        if batch and num_bytes + size > MOST_BYTES:
            yield batch
            batch, num_bytes = [], 0
        batch.append(name)
        num_bytes += size
    if batch:
        yield batch
