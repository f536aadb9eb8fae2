"""Choosing tokens: a pure function of (logits, seed, position), equal for every engine that is ours.

One uniform number per (seed, position) comes from a counter-based hash, and the token from the inverse of the
cumulative distribution at that number. So a sample does not depend on what else shares the forward pass, but
for the float noise of the logits themselves. Owns no state but the parameters of the rows.
"""

# R rows · V vocabulary · B blocks of the vocabulary

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.protocol import TOP_K_OFF, Sampling

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# The cumulative sum is taken over blocks first and then within one block: most of the vocabulary is summed
# by numpy's pairwise reduction, several times faster than a running sum and as exact.
_BLOCK: Final = 256
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def _splitmix64(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014): a bijection with full avalanche."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def uniforms(seeds: npt.NDArray[np.uint64], positions: Ints) -> npt.NDArray[np.float64]:
    """One number in [0, 1) for each (seed, position) pair; [R].

    The seed is mixed before the position is added, so that seeds 0, 1, 2 … have unrelated streams.

    >>> uniforms(np.array([1, 1, 2], np.uint64), np.array([0, 1, 0])).round(6).tolist()
    [0.36819, 0.943564, 0.392216]
    """
    streams = _splitmix64(seeds + _GOLDEN)
    words = _splitmix64(streams + (positions.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


class TokenSampler:
    """Samples the next token of each of R rows."""

    def __init__(self, *, seeds: Sequence[int], positions: Sequence[int], sampling: Sequence[Sampling]) -> None:
        self._seeds = np.array(seeds, np.uint64)
        self._positions = np.array(positions, np.int64)
        self._is_greedy = np.array([row.temperature == 0.0 for row in sampling], np.bool_)
        # Greedy log-probs are at temperature 1: at 0 they would all be 0.
        temperatures = [row.temperature or 1.0 for row in sampling]
        self._inverse_temperatures: Floats = np.reciprocal(np.array(temperatures, np.float32))[:, None]
        self._is_scaled = bool((self._inverse_temperatures != 1.0).any())
        self._filtered = [(index, row) for index, row in enumerate(sampling) if _has_filter(row)]

    # NaN and inf are not warned of but reported, by the log-prob of their row.
    @np.errstate(invalid="ignore", over="ignore")
    def sample(self, logits_RV: Floats) -> tuple[Ints, Floats]:
        """Token ids [R] and their log-probs [R]; moves every row one position on. The logits are not changed.

        A row whose logits hold NaN or +inf has a log-prob that is not finite.
        """
        scaled_RV: Floats = logits_RV * self._inverse_temperatures if self._is_scaled else logits_RV
        top_R = scaled_RV.max(axis=1)
        weights_RV = _exp_of_difference(scaled_RV, top_R)
        ends_RB = _block_ends(weights_RV)
        totals_R = ends_RB[:, -1]
        if self._filtered:
            for index, row in self._filtered:
                apply_filters(weights_RV[index], row)
            ends_RB = _block_ends(weights_RV)
        tokens_R = _invert(weights_RV, ends_RB, uniforms(self._seeds, self._positions))
        if self._is_greedy.any():
            tokens_R = np.where(self._is_greedy, logits_RV.argmax(axis=1), tokens_R)
        self._positions += 1
        chosen_R = np.take_along_axis(scaled_RV, tokens_R[:, None], axis=1)[:, 0]
        return tokens_R, ((chosen_R - top_R) - np.log(totals_R)).astype(np.float32)


def _has_filter(row: Sampling) -> bool:
    is_off = row.top_k == TOP_K_OFF and row.top_p == 1.0 and row.min_p == 0.0
    return row.temperature > 0.0 and not is_off


def _exp_of_difference(scaled_RV: Floats, top_R: Floats) -> Floats:
    """exp(logits − max), padded with zeros to whole blocks."""
    rows, width = scaled_RV.shape
    weights_RV = np.zeros((rows, -(-width // _BLOCK) * _BLOCK), np.float32)
    used_RV = weights_RV[:, :width]
    np.subtract(scaled_RV, top_R[:, None], out=used_RV)
    np.exp(used_RV, out=used_RV)
    return weights_RV


def _block_ends(weights_RV: Floats) -> npt.NDArray[np.float64]:
    """The cumulative weight at the end of each block; [R, B]."""
    ends_RB: npt.NDArray[np.float64] = (
        weights_RV.reshape(len(weights_RV), -1, _BLOCK).sum(axis=2).cumsum(axis=1, dtype=np.float64)
    )
    return ends_RB


def _invert(weights_RV: Floats, ends_RB: npt.NDArray[np.float64], uniforms_R: npt.NDArray[np.float64]) -> Ints:
    """The first token whose cumulative weight exceeds uniform × total; [R]."""
    rows = np.arange(len(weights_RV))
    weights_RBK = weights_RV.reshape(len(rows), -1, _BLOCK)
    targets_R = uniforms_R * ends_RB[:, -1]
    # The last block at most: rounding, or a row of NaN, which its log-prob will betray.
    blocks_R = np.minimum((ends_RB <= targets_R[:, None]).sum(axis=1), ends_RB.shape[1] - 1)
    before_R = np.where(blocks_R > 0, ends_RB[rows, blocks_R - 1], 0.0)
    inside_RK = weights_RBK[rows, blocks_R]
    running_RK = before_R[:, None] + inside_RK.cumsum(axis=1, dtype=np.float64)
    places_R = (running_RK <= targets_R[:, None]).sum(axis=1)
    # Rounding may leave the target beyond the block's own running sum: then it is the last possible token.
    last_R = _BLOCK - 1 - (inside_RK[:, ::-1] > 0.0).argmax(axis=1)
    tokens_R: Ints = blocks_R * _BLOCK + np.minimum(places_R, last_R)
    return tokens_R


def apply_filters(weights_V: Floats, row: Sampling) -> None:
    """Set to 0 the weights of tokens outside top-k, then top-p, then min-p. In place; ties go to the lower id."""
    if row.top_k != TOP_K_OFF and row.top_k < weights_V.size:
        _keep_only(weights_V, _largest(weights_V)[: row.top_k])
    if row.top_p < 1.0:
        _keep_only(weights_V, _nucleus(weights_V, row.top_p))
    if row.min_p > 0.0:
        weights_V[weights_V < row.min_p * weights_V.max()] = 0.0


def _largest(weights_V: Floats, candidates: Ints | None = None) -> Ints:
    ids = np.arange(weights_V.size) if candidates is None else candidates
    order: Ints = ids[np.argsort(-weights_V[ids], kind="stable")]
    return order


def _nucleus(weights_V: Floats, top_p: float) -> Ints:
    """The smallest set of most likely tokens with at least `top_p` of the weight (arXiv:1904.09751)."""
    total = float(weights_V.sum(dtype=np.float64))
    # Tokens below this cannot be in it: all of them together weigh less than 1 − top_p. Saves a full sort.
    floor = (1.0 - top_p) * total / weights_V.size
    order = _largest(weights_V, np.flatnonzero(weights_V >= floor))
    needed = int((weights_V[order].cumsum(dtype=np.float64) < top_p * total).sum()) + 1
    return order[:needed]


def _keep_only(weights_V: Floats, kept: Ints) -> None:
    weights_kept = weights_V[kept]
    weights_V[:] = 0.0
    weights_V[kept] = weights_kept
