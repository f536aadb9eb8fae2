"""What is known of tokens before they are trained on, and how a micro-batch takes its part of it."""

# T tokens, all of one length · K those of a micro-batch

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tetrad_learner.trainer.packing import MicroBatch
from tetrad_learner.trainer.policy import ForwardInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What the policy's loss looks at; on the device. Entries of tokens that are not trained mean nothing."""

    token_ids: Tensor
    """int64[T]"""
    sample: Tensor
    """int64[T]: sample of each token, index in the step's batch."""
    advantages: Tensor
    """float32[T]"""
    weights: Tensor
    """float32[T]: the reduction's weight of each token."""
    rollout_logprobs: Tensor
    """float32[T]: from the rollout engine."""
    old_logprobs: Tensor | None = None
    """float32[T]: of the policy before the step's first update; None means the current ones, without gradient."""
    reference_logprobs: Tensor | None = None
    """float32[T]: of the reference model; None where no KL loss is wanted."""
    importance: Tensor | None = None
    """float32[T]: truncated importance weight old / rollout of the policy loss; None means 1."""
    selected: Tensor | None = None
    """bool[T]: tokens that a covariance loss chose; None for other losses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueFacts:
    """What the critic's loss looks at; on the device."""

    token_ids: Tensor
    """int64[T]"""
    old_values: Tensor
    """float32[T]: of the critic before the step's first update."""
    returns: Tensor
    """float32[T]: what its values should be."""
    weights: Tensor
    """float32[T]: the reduction's weight of each token."""


Facts = TypeVar("Facts", TokenFacts, ValueFacts)


def select(facts: Facts, index_K: Tensor) -> Facts:
    """Return the facts of some tokens, in the order of the index."""
    known = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)}
    return dataclasses.replace(facts, **{name: found[index_K] for name, found in known.items() if found is not None})


def forward_inputs(micro: MicroBatch, token_ids: Tensor) -> ForwardInputs:
    """Move a micro-batch to where the rank's token ids are."""
    device = token_ids.device
    bounds, longest = (None, None) if micro.lengths_N is None else _bounds(micro.lengths_N, device)
    return ForwardInputs(
        input_ids=on_device(micro.input_ids, device),
        position_ids=None if micro.position_ids is None else on_device(micro.position_ids, device),
        bounds=bounds,
        longest=longest,
        source_T=on_device(micro.source_T, device),
        target_T=token_ids[on_device(micro.token_T, device)],
    )


def _bounds(lengths_N: NDArray[np.int64], device: torch.device) -> tuple[Tensor, int]:
    """Where samples begin and end, and a length that none exceeds: a power of two, so that compiled code is found."""
    bounds = np.concatenate([[0], np.cumsum(lengths_N)]).astype(np.int32)
    return on_device(bounds, device), 1 << int(lengths_N.max() - 1).bit_length()


def on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return the array as a tensor on `device`; a GPU is not waited for, so that its work never runs dry."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
