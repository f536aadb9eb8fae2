"""A fingerprint of weights that never change: the sum of their bits, the same however they are spread over ranks.

It tells one model from another; it proves nothing against somebody who wants two to look alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from tetrad_learner.trainer.ranks import Ranks

# What a float64, and so JSON, holds exactly.
MODULUS: Final = 1 << 53


@torch.no_grad()
def bit_sum(tensors: Iterable[Tensor], ranks: Ranks) -> float:
    """Return the sum of all sharded float32 tensors' bits, taken as 32-bit integers; collective."""
    total = torch.zeros((), dtype=torch.int64, device=ranks.device)
    for tensor in tensors:
        if isinstance(tensor, DTensor) and tensor.dtype is torch.float32:
            total += tensor.to_local().contiguous().view(torch.int32).sum(dtype=torch.int64)
    return float(int(ranks.sum(total.cpu()).item()) % MODULUS)
