"""A probe of a freshly read model: whether this package computes the log-probabilities that the model computes.

Some architectures scale or cap their logits, or ignore reset positions. Training them through a head of our own or
in packed rows would go wrong without a sign; a forward of a dozen tokens shows it before anything is spent.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tetrad_learner.trainer.attention import PACKED_ATTENTION, register_packed_attention
from tetrad_learner.trainer.errors import UnsupportedModelError
from tetrad_learner.trainer.options import RowLayout
from tetrad_learner.trainer.policy import ForwardInputs, Policy

PROBE_TOKENS: Final = 6
# Float32 noise of a few dozen layers is below 1e-3; a soft cap or a scale moves log-probabilities by far more.
TOLERANCE: Final = 5e-3


@torch.no_grad()
def check_model(causal_lm: PreTrainedModel, *, layout: RowLayout) -> None:
    """Raise UnsupportedModelError if the chunked head, or packing where it is used, changes log-probabilities."""
    policy = Policy(causal_lm, temperature=1.0)
    first, second = (torch.arange(PROBE_TOKENS) * k % policy.vocabulary for k in (5, 7))
    causal_lm.set_attn_implementation("eager")
    expected = torch.cat([_models_own(causal_lm, first), _models_own(causal_lm, second)])
    try:
        causal_lm.set_attn_implementation("sdpa")
        ours = torch.cat([_padded(policy, first), _padded(policy, second)])
    except ValueError as error:  # transformers says so where only its slow form knows the attention of a model
        raise UnsupportedModelError(f"{type(causal_lm).__name__} needs another attention: {error}") from error
    _compare(ours, expected, fault="has more between hidden states and logits than one matrix")
    if layout is RowLayout.PACKED:
        register_packed_attention()
        causal_lm.set_attn_implementation(PACKED_ATTENTION)
        packed = _packed(policy, first, second)
        _compare(packed, expected, fault="mixes the samples of a packed row; set trainer.use_sample_packing=false")


def _compare(ours: Tensor, expected: Tensor, *, fault: str) -> None:
    distance = float((ours - expected).abs().max())
    if not distance <= TOLERANCE:
        raise UnsupportedModelError(
            f"this model {fault}: log-probabilities differ by {distance:.3g} (limit {TOLERANCE})"
        )


def _models_own(causal_lm: PreTrainedModel, ids: Tensor) -> Tensor:
    logits: Tensor = causal_lm(input_ids=ids[None, :-1], use_cache=False).logits[0].float()
    return logits.log_softmax(-1).gather(-1, ids[1:, None])[:, 0]


def _padded(policy: Policy, ids: Tensor) -> Tensor:
    fed = ids[None, :-1]
    inputs = ForwardInputs(input_ids=fed, position_ids=None, source_T=torch.arange(fed.shape[1]), target_T=ids[1:])
    logprobs_T: Tensor = policy(inputs)[0]
    return logprobs_T


def _packed(policy: Policy, first: Tensor, second: Tensor) -> Tensor:
    fed = torch.cat([first[:-1], second[:-1]])[None]
    length = PROBE_TOKENS - 1
    inputs = ForwardInputs(
        input_ids=fed,
        position_ids=torch.arange(length).repeat(2)[None],
        bounds=torch.tensor([0, length, 2 * length], dtype=torch.int32),
        longest=length,
        source_T=torch.arange(fed.shape[1]),
        target_T=torch.cat([first[1:], second[1:]]),
    )
    logprobs_T: Tensor = policy(inputs)[0]
    return logprobs_T
