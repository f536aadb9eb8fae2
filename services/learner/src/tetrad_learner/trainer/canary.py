"""What the policy says of a few fixed tokens, by which engines are compared with it after each weight update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.distributed.fsdp import FSDPModule

from tetrad_learner.trainer.options import RowLayout
from tetrad_learner.trainer.policy import ForwardInputs, Policy


@torch.no_grad()
def canary_logprobs(policy: Policy, ids: Sequence[int], *, layout: RowLayout, device: torch.device) -> list[float]:
    """Return the log-probability of each of `ids` as the token that follows them all, at temperature 1; collective.

    One position: an engine samples there anyway, so that it need not compute its prompt in another way than ever.
    """
    tokens = torch.tensor(ids, device=device)
    length = len(ids)
    is_packed = layout is RowLayout.PACKED
    inputs = ForwardInputs(
        input_ids=tokens[None],
        position_ids=torch.arange(length, device=device)[None] if is_packed else None,
        bounds=torch.tensor([0, length], dtype=torch.int32, device=device) if is_packed else None,
        longest=length if is_packed else None,
        source_T=torch.full((length,), length - 1, device=device),
        target_T=tokens,
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
