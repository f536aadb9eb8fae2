"""Log-probability and entropy of chosen tokens, from hidden states and the vocabulary matrix.

Owns the chunking: logits exist for one chunk of tokens at a time, forward and backward, so that no
[tokens, vocabulary] tensor is ever whole. Backward computes the logits again: one more matrix product instead of
memory for all of them. Must not know of models or batches.
"""

# T tokens · H hidden size · V vocabulary · C tokens of a chunk

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

# Logits of a chunk in float32, by kind of device. Two such buffers live at once. Large enough for matrix products to
# run at full speed (every chunk reads the whole vocabulary matrix, and backward its gradient: a GPU wants hundreds of
# tokens at a time), small enough to vanish beside the activations.
CHUNK_BYTES: Final[Mapping[str, int]] = {"cpu": 32 * 2**20, "cuda": 512 * 2**20}


def chunk_tokens(vocabulary: int, *, chunk_bytes: int) -> int:
    """How many tokens' float32 logits fit `chunk_bytes`; at least one.

    >>> chunk_tokens(151_936, chunk_bytes=32 * 2**20)
    55
    """
    return max(1, chunk_bytes // (4 * vocabulary))


def token_logprobs(
    hidden_TH: Tensor,
    head_VH: Tensor,
    targets_T: Tensor,
    *,
    temperature: float = 1.0,
    chunk_bytes: int | None = None,
    is_compiled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return (log softmax(h·Wᵀ / temperature)[target], entropy), each float32[T] (float64 for float64 input).

    Both carry gradients to the hidden states and the vocabulary matrix. The product runs in the inputs' dtype, the
    softmax in float32. With p = softmax(z): ∂logp_y/∂z = onehot(y) − p; ∂H/∂z = −p·(log p + H). `chunk_bytes` is by
    default what suits the device; `is_compiled` has torch.compile fuse what is done to each chunk of logits.

    >>> hidden, head = torch.zeros(2, 3), torch.zeros(4, 3)
    >>> token_logprobs(hidden, head, torch.tensor([0, 3]))
    (tensor([-1.3863, -1.3863]), tensor([1.3863, 1.3863]))
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; log-probabilities need one above 0")
    if hidden_TH.shape[0] != targets_T.shape[0] or hidden_TH.shape[1] != head_VH.shape[1]:
        raise ValueError(f"hidden {tuple(hidden_TH.shape)}, head {tuple(head_VH.shape)}, {len(targets_T)} targets")
    room = CHUNK_BYTES.get(hidden_TH.device.type, CHUNK_BYTES["cpu"]) if chunk_bytes is None else chunk_bytes
    setting = _Setting(
        temperature=float(temperature),
        size=chunk_tokens(head_VH.shape[0], chunk_bytes=room),
        softmax=_compiled(_softmax) if is_compiled else _softmax,
        slope=_compiled(_slope) if is_compiled else _slope,
    )
    chunked: tuple[Tensor, Tensor] = _TokenLogprobs.apply(  # type: ignore[no-untyped-call]  # torch leaves apply bare
        hidden_TH, head_VH, targets_T, setting
    )
    return chunked


Softmax = Callable[[Tensor, Tensor, float, torch.dtype], tuple[Tensor, Tensor, Tensor]]
Slope = Callable[..., Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    temperature: float
    size: int
    softmax: Softmax
    slope: Slope


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled once for any number of tokens."""
    return torch.compile(function, dynamic=True)


class _TokenLogprobs(torch.autograd.Function):
    """The chunked softmax; keeps the inputs and two numbers per token for backward."""

    @staticmethod
    def forward(
        ctx: Any, hidden_TH: Tensor, head_VH: Tensor, targets_T: Tensor, setting: _Setting
    ) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(hidden_TH.dtype, torch.float32)
        logprobs_T, entropy_T, lse_T = (hidden_TH.new_empty(len(targets_T), dtype=dtype) for _ in range(3))
        for start in range(0, len(targets_T), setting.size):
            chunk = slice(start, start + setting.size)
            raw_CV = hidden_TH[chunk] @ head_VH.T
            logprobs_T[chunk], entropy_T[chunk], lse_T[chunk] = setting.softmax(
                raw_CV, targets_T[chunk], setting.temperature, dtype
            )
        ctx.save_for_backward(hidden_TH, head_VH, targets_T, lse_T, entropy_T)
        ctx.setting = setting
        ctx.set_materialize_grads(False)
        return logprobs_T, entropy_T

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden_TH, head_VH, targets_T, lse_T, entropy_T = ctx.saved_tensors
        grad_logprobs_T, grad_entropy_T = grads
        if grad_logprobs_T is None and grad_entropy_T is None:
            return None, None, None, None
        grad_hidden_TH = torch.empty_like(hidden_TH)
        grad_head_VH = torch.zeros_like(head_VH, dtype=lse_T.dtype)
        for start in range(0, len(targets_T), ctx.setting.size):
            chunk = slice(start, start + ctx.setting.size)
            low_CV = ctx.setting.slope(
                hidden_TH[chunk] @ head_VH.T,
                targets_C=targets_T[chunk],
                lse_C=lse_T[chunk],
                entropy_C=entropy_T[chunk],
                grad_logprobs_C=None if grad_logprobs_T is None else grad_logprobs_T[chunk],
                grad_entropy_C=None if grad_entropy_T is None else grad_entropy_T[chunk],
                temperature=ctx.setting.temperature,
            )
            torch.mm(low_CV, head_VH, out=grad_hidden_TH[chunk])
            _accumulate(grad_head_VH, low_CV, hidden_TH[chunk])
        return grad_hidden_TH, grad_head_VH.to(head_VH.dtype), None, None


def _scaled(raw_CV: Tensor, temperature: float, dtype: torch.dtype) -> Tensor:
    logits_CV = raw_CV.to(dtype)
    return logits_CV.div_(temperature) if temperature != 1.0 else logits_CV


def _softmax(
    raw_CV: Tensor, targets_C: Tensor, temperature: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """From fresh logits of a chunk, which may be overwritten: log-probabilities, entropies, log Σ exp."""
    logits_CV = _scaled(raw_CV, temperature, dtype)
    top_C1 = logits_CV.amax(-1, keepdim=True)
    shifted_CV = logits_CV.sub_(top_C1)
    target_C = shifted_CV.gather(-1, targets_C[:, None])[:, 0]
    exp_CV = shifted_CV.exp()
    sum_C = exp_CV.sum(-1)
    # H = log Σ − Σ p·z: a row product, so that p is never divided out.
    entropy_C = sum_C.log() - torch.linalg.vecdot(exp_CV, shifted_CV) / sum_C
    return target_C - sum_C.log(), entropy_C, sum_C.log() + top_C1[:, 0]


def _slope(
    raw_CV: Tensor,
    *,
    targets_C: Tensor,
    lse_C: Tensor,
    entropy_C: Tensor,
    grad_logprobs_C: Tensor | None,
    grad_entropy_C: Tensor | None,
    temperature: float,
) -> Tensor:
    """Gradient with respect to fresh logits, which may be overwritten, in their dtype."""
    log_p_CV = _scaled(raw_CV, temperature, lse_C.dtype).sub_(lse_C[:, None])
    grad_CV = _grad_logits(
        log_p_CV,
        targets_C=targets_C,
        entropy_C=entropy_C,
        grad_logprobs_C=grad_logprobs_C,
        grad_entropy_C=grad_entropy_C,
    )
    grad_CV = grad_CV.div_(temperature) if temperature != 1.0 else grad_CV
    return grad_CV.to(raw_CV.dtype)


def _grad_logits(
    log_p_CV: Tensor,
    *,
    targets_C: Tensor,
    entropy_C: Tensor,
    grad_logprobs_C: Tensor | None,
    grad_entropy_C: Tensor | None,
) -> Tensor:
    """Gradient with respect to the scaled logits, in place of `log_p_CV` where that is possible."""
    if grad_entropy_C is None:
        assert grad_logprobs_C is not None
        grad_CV = log_p_CV.exp_().mul_(-grad_logprobs_C[:, None])
    else:
        p_CV = log_p_CV.exp()
        slope_CV = log_p_CV.add_(entropy_C[:, None]).mul_(-grad_entropy_C[:, None])
        if grad_logprobs_C is not None:
            slope_CV.sub_(grad_logprobs_C[:, None])
        grad_CV = slope_CV.mul_(p_CV)
    if grad_logprobs_C is not None:
        grad_CV.scatter_add_(-1, targets_C[:, None], grad_logprobs_C[:, None])
    return grad_CV


def _accumulate(grad_head_VH: Tensor, grad_CV: Tensor, hidden_CH: Tensor) -> None:
    """Add gradᵀ · hidden to the gradient of the vocabulary matrix, in float32 whatever the product runs in."""
    if grad_CV.dtype == grad_head_VH.dtype:
        grad_head_VH.addmm_(grad_CV.T, hidden_CH)
    else:
        grad_head_VH.add_(grad_CV.T @ hidden_CH)
