"""From samples to micro-batches: which samples share a forward pass, and where each token lies in it.

Pure numpy. The last trained token of a sample is only predicted, never fed, so a sample costs the positions before
it; a sample without trained tokens costs nothing. Must not know of models or devices.
"""

# S samples · R rows of L positions · T trained tokens of a micro-batch

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.options import RowLayout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MicroBatch:
    """Input of one forward pass, and which of its outputs predict trained tokens."""

    input_ids: NDArray[np.int64]
    """int64[R, L]: token ids, padded on the right with 0; causal attention never looks there."""
    position_ids: NDArray[np.int64] | None
    """int64[R, L] counted from 0 in each sample of a packed row; None where a row is one sample."""
    lengths_N: NDArray[np.int64] | None
    """int64[N]: positions of each sample of a packed row; None where a row is one sample."""
    source_T: NDArray[np.int64]
    """int64[T]: position (row · L + column) whose output predicts each trained token."""
    token_T: NDArray[np.int64]
    """int64[T]: index of each trained token in the rank's token arrays."""
    sample_T: NDArray[np.int64]
    """int64[T]: index in the step's batch of the sample of each trained token."""
    num_samples: int
    """Samples that the micro-batch holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatchLimits:
    """How large a micro-batch may be, and its layout."""

    max_samples: int
    max_tokens: int | None
    layout: RowLayout


def micro_batches(batch: StepBatch, *, mini_batch: int, limits: MicroBatchLimits) -> list[MicroBatch]:
    """Cut this rank's share of a mini-batch into micro-batches, the largest first."""
    fed_S = fed_lengths(batch)
    mine = np.flatnonzero((batch.mini_batch == mini_batch) & (fed_S > 0))
    order = mine[np.argsort(-fed_S[mine], kind="stable")]
    cuts = cut([int(fed_S[i]) for i in order], limits=limits)
    return [_build(batch, fed_S, samples=order[start:end], layout=limits.layout) for start, end in cuts]


def fed_lengths(batch: StepBatch) -> NDArray[np.int64]:
    """int64[S]: positions of each sample before its last trained token; 0 where nothing is trained."""
    column_T = np.arange(len(batch.token_ids)) - np.repeat(batch.offsets[:-1], batch.lengths)
    fed_S = np.zeros(batch.num_samples, dtype=np.int64)
    owner_T = np.repeat(np.arange(batch.num_samples), batch.lengths)
    trained = batch.loss_mask == 1
    np.maximum.at(fed_S, owner_T[trained], column_T[trained])
    return fed_S


def cut(lengths: Sequence[int], *, limits: MicroBatchLimits) -> list[tuple[int, int]]:
    """Cut lengths, sorted from long to short, into runs that keep the limits; one that is too long goes alone.

    >>> cut([5, 4, 2, 1], limits=MicroBatchLimits(max_samples=8, max_tokens=10, layout=RowLayout.PADDED))
    [(0, 2), (2, 4)]
    >>> cut([5, 4, 2, 1], limits=MicroBatchLimits(max_samples=8, max_tokens=11, layout=RowLayout.PACKED))
    [(0, 3), (3, 4)]
    >>> cut([5, 4, 2, 1], limits=MicroBatchLimits(max_samples=3, max_tokens=None, layout=RowLayout.PADDED))
    [(0, 3), (3, 4)]
    """
    runs: list[tuple[int, int]] = []
    start = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or not _fits(lengths[start : end + 1], limits):
            runs.append((start, end))
            start = end
    return runs


def _fits(lengths: Sequence[int], limits: MicroBatchLimits) -> bool:
    positions = lengths[0] * len(lengths) if limits.layout is RowLayout.PADDED else sum(lengths)
    return len(lengths) <= limits.max_samples and (limits.max_tokens is None or positions <= limits.max_tokens)


def empty_micro_batch() -> MicroBatch:
    """Return one position that predicts nothing: a rank that has run out still joins the others' collectives."""
    nothing = np.zeros(0, dtype=np.int64)
    return MicroBatch(
        input_ids=np.zeros((1, 1), dtype=np.int64),
        position_ids=None,
        lengths_N=None,
        source_T=nothing,
        token_T=nothing,
        sample_T=nothing,
        num_samples=0,
    )


def _build(batch: StepBatch, fed_S: NDArray[np.int64], *, samples: NDArray[np.intp], layout: RowLayout) -> MicroBatch:
    fed, offsets = fed_S[samples], batch.offsets[samples]
    match layout:
        case RowLayout.PADDED:
            shape, starts = (len(samples), int(fed.max())), np.arange(len(samples)) * fed.max()
            position_ids, lengths = None, None
        case RowLayout.PACKED:
            shape, starts = (1, int(fed.sum())), np.cumsum(fed) - fed
            position_ids, lengths = _join(np.arange(n) for n in fed)[None], fed
        case _:
            assert_never(layout)
    input_ids = np.zeros(shape[0] * shape[1], dtype=np.int64)
    # Position p of a fed sample predicts the token after it, offset + p + 1.
    place = _join(start + np.arange(n) for start, n in zip(starts, fed, strict=True))
    token = _join(offset + np.arange(n) for offset, n in zip(offsets, fed, strict=True))
    input_ids[place] = batch.token_ids[token]
    trained = batch.loss_mask[token + 1] == 1
    return MicroBatch(
        input_ids=input_ids.reshape(shape),
        position_ids=position_ids,
        lengths_N=lengths,
        source_T=place[trained],
        token_T=token[trained] + 1,
        sample_T=np.repeat(batch.sample_index[samples], fed)[trained].astype(np.int64),
        num_samples=len(samples),
    )


def _join(parts: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(list(parts))
