"""Attention over packed rows: samples lie end to end in a row and never see each other, and no mask is made.

On a GPU in half precision torch's variable-length kernel does it (FlashAttention with the bounds of the samples;
`torch.nn.attention.varlen`): nothing is padded, and memory and time grow with the tokens of each sample, not with the
square of the row. It comes with torch, so that no compiled package has to fit torch's version. Elsewhere each sample
is attended to by itself. Must not know of models: transformers calls it by the name under which it is registered.
"""

# R rows of L positions · N samples · H query heads · K key heads · D head size

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from tetrad_learner.trainer.errors import UnsupportedModelError

PACKED_ATTENTION: Final = "tetrad_packed"
Kernel = Callable[..., Any] | None
KERNEL_DTYPES: Final = (torch.bfloat16, torch.float16)
# What some models ask of their attention beyond softmax(q·kᵀ·scale)·v.
UNSUPPORTED: Final = ("softcap", "s_aux", "position_bias")


def register_packed_attention() -> None:
    """Make the attention known to transformers; doing it again changes nothing."""
    AttentionInterface.register(PACKED_ATTENTION, partial(packed_attention, kernel=_kernel()))


def packed_attention(
    module: nn.Module,
    query_RHLD: Tensor,
    key_RKLD: Tensor,
    value_RKLD: Tensor,
    attention_mask: Tensor | None,
    *,
    kernel: Kernel,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **extras: object,
) -> tuple[Tensor, None]:
    """Causal attention within each sample; in transformers' form: returns ([R, L, H, D], no weights).

    `cu_seq_lens_q` is int32[N + 1], the bounds of the samples in a single row; without it each row is one sample.
    Raises UnsupportedModelError for a model whose attention is another.
    """
    asked = [name for name in UNSUPPORTED if extras.get(name) is not None]
    if asked or attention_mask is not None or not getattr(module, "is_causal", True):
        what = ", ".join(asked) or "a mask of its own"
        raise UnsupportedModelError(
            f"{type(module).__name__} asks for {what}, unknown in packed rows; set trainer.use_sample_packing=false"
        )
    rows, _, length, _ = query_RHLD.shape
    if cu_seq_lens_q is None or max_length_q is None:
        cu_seq_lens_q = torch.arange(0, rows * length + 1, length, dtype=torch.int32, device=query_RHLD.device)
        max_length_q = length
    query, key, value = (states.transpose(1, 2).flatten(0, 1) for states in (query_RHLD, key_RKLD, value_RKLD))
    if query.is_cuda and query.dtype in KERNEL_DTYPES and kernel is not None:
        # The kernel counts keys to the left of the query; transformers counts the query in.
        left = -1 if sliding_window is None else sliding_window - 1
        sizes = (cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q)
        out = kernel(query, key, value, *sizes, scale=scaling, window_size=(left, 0))
    else:
        out = _one_by_one(query, key, value, cu_seq_lens_q, scaling=scaling, window=sliding_window)
    return out.view(rows, length, *out.shape[1:]), None


def _kernel() -> Kernel:
    """Torch's kernel, looked up once so that compiled code need not; None where flash attention is switched off.

    Newer releases want to be told that there may be fewer key heads than query heads.
    """
    if not torch.backends.cuda.flash_sdp_enabled():  # type: ignore[no-untyped-call]  # bare
        return None
    from torch.nn.attention.varlen import varlen_attn

    is_asking = "enable_gqa" in inspect.signature(varlen_attn).parameters
    return partial(varlen_attn, enable_gqa=True) if is_asking else varlen_attn


# Lengths are data: compiled code would be made anew for each.
@torch.compiler.disable  # type: ignore[untyped-decorator]  # bare
def _one_by_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bounds: Tensor,
    *,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    lengths = bounds.diff().tolist()
    parts = zip(*(torch.split(states, lengths) for states in (query, key, value)), strict=True)
    return torch.cat([_attend(*part, scaling=scaling, window=window) for part in parts])


def _attend(query: Tensor, key: Tensor, value: Tensor, *, scaling: float | None, window: int | None) -> Tensor:
    """One sample: [L, H, D] and [L, K, D] to [L, H, D]."""
    q, k, v = (states.transpose(0, 1)[None] for states in (query, key, value))
    mask = None if window is None or len(query) <= window else _window_mask(len(query), window, query.device)
    out = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True
    )
    return out[0].transpose(0, 1)


def _window_mask(length: int, window: int, device: torch.device) -> Tensor:
    """bool[L, L]: whether a query may look at a key: itself and the window − 1 before it."""
    position = torch.arange(length, device=device)
    distance = position[:, None] - position[None, :]
    return (distance >= 0) & (distance < window)
