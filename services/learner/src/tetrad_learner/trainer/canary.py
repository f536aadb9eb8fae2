"""What the policy says of a few fixed tokens, by which engines are compared with it after each weight update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.distributed.fsdp import FSDPModule

from tetrad_learner.trainer.options import RowLayout
from tetrad_learner.trainer.policy import ForwardInputs, Policy


@torch.no_grad()
def canary_logprobs(policy: Policy, ids: Sequence[int], *, layout: RowLayout, device: torch.device) -> list[float]:
    """Return log-probabilities at temperature 1 of all of `ids` but the first; collective."""
    tokens = torch.tensor(ids, device=device)
    fed = tokens[None, :-1]
    length = fed.shape[1]
    is_packed = layout is RowLayout.PACKED
    inputs = ForwardInputs(
        input_ids=fed,
        position_ids=torch.arange(length, device=device)[None] if is_packed else None,
        bounds=torch.tensor([0, length], dtype=torch.int32, device=device) if is_packed else None,
        longest=length if is_packed else None,
        source_T=torch.arange(length, device=device),
        target_T=tokens[1:],
    )
    was_training, temperature = policy.training, policy.temperature
    policy.eval()
    policy.temperature = 1.0
    try:
        logprobs: list[float] = policy(inputs)[0].float().tolist()
    finally:
        policy.train(was_training)
        policy.temperature = temperature
    # Without a backward pass nobody else would give gathered parameters back.
    for module in policy.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    return logprobs
