"""Sampling is a pure function of (logits, seed, position), and the right distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tetrad_rollout.engine.protocol import Sampling
from tetrad_rollout.engine.sampling import TokenSampler, apply_filters, uniforms


def a_sampling(**fields: float) -> Sampling:
    return Sampling(max_new_tokens=1, **fields)  # type: ignore[arg-type]  # top_k is an int where it is given


def draw(
    logits: NDArray[np.float32], seeds: Sequence[int], *, position: int = 0, sampling: Sampling | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rows = [sampling or a_sampling()] * len(seeds)
    sampler = TokenSampler(seeds=seeds, positions=[position] * len(seeds), sampling=rows)
    return sampler.sample(np.broadcast_to(logits, (len(seeds), logits.shape[-1])).copy())


def naive_filter(weights: NDArray[np.float32], sampling: Sampling) -> set[int]:
    """The tokens left, by the textbook."""
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    if sampling.top_k > 0:
        order = order[: sampling.top_k]
    total, mass, nucleus = sum(float(weights[i]) for i in order), 0.0, []
    for i in order:
        if sampling.top_p < 1.0 and mass >= sampling.top_p * total:
            break
        nucleus.append(i)
        mass += float(weights[i])
    return {i for i in nucleus if weights[i] > 0 and weights[i] >= sampling.min_p * weights[nucleus[0]]}


def test_uniforms_are_uniform_and_unrelated_between_neighbouring_seeds_and_positions() -> None:
    seeds, positions = np.meshgrid(np.arange(300, dtype=np.uint64), np.arange(300))

    u = uniforms(seeds.ravel(), positions.ravel()).reshape(300, 300)

    assert ((u >= 0) & (u < 1)).all()
    counts = np.histogram(u, bins=100, range=(0, 1))[0]
    assert ((counts - 900) ** 2 / 900).sum() < 160  # χ² with 99 degrees of freedom: 160 is at p = 1e-4
    assert abs(np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1]) < 0.015
    assert abs(np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())[0, 1]) < 0.015


@pytest.mark.parametrize("width", [5, 256, 1000])
def test_tokens_follow_the_softmax(width: int) -> None:
    logits = np.random.default_rng(0).normal(0, 2, width).astype(np.float32)
    wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()

    tokens, _ = draw(logits, range(20_000))

    counts, expected = np.bincount(tokens, minlength=width), 20_000 * wanted
    is_frequent = expected >= 5
    chi2 = ((counts - expected) ** 2 / expected)[is_frequent].sum()
    freedom = is_frequent.sum()
    assert chi2 < freedom + 5 * np.sqrt(2 * freedom)


def test_logprobs_are_of_the_full_vocabulary_at_the_temperature() -> None:
    logits = np.random.default_rng(1).normal(0, 3, 700).astype(np.float32)
    exact = logits.astype(np.float64) / 0.7
    exact -= np.log(np.exp(exact - exact.max()).sum()) + exact.max()

    tokens, logprobs = draw(logits, range(50), sampling=a_sampling(temperature=0.7, top_k=4, top_p=0.8))

    np.testing.assert_allclose(logprobs, exact[tokens], atol=2e-6)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    logits = np.random.default_rng(2).normal(0, 1, (6, 300)).astype(np.float32)
    seeds = [9, 8, 7, 6, 5, 4]
    rows = [a_sampling(temperature=t, top_p=p) for t, p in [(1, 1), (0, 1), (2, 0.5), (1, 0.9), (0.5, 1), (1, 1)]]
    together = TokenSampler(seeds=seeds, positions=[3] * 6, sampling=rows).sample(logits)

    for i in range(6):
        alone = TokenSampler(seeds=seeds[i : i + 1], positions=[3], sampling=rows[i : i + 1]).sample(logits[i : i + 1])
        assert (alone[0][0], alone[1][0]) == (together[0][i], together[1][i])


def test_each_position_has_its_own_number() -> None:
    logits = np.zeros((1, 1000), np.float32)
    sampler = TokenSampler(seeds=[3], positions=[0], sampling=[a_sampling()])
    in_turn = [int(sampler.sample(logits)[0][0]) for _ in range(4)]

    assert in_turn == [int(draw(logits[0], [3], position=i)[0][0]) for i in range(4)]
    assert len(set(in_turn)) > 1


def test_greedy_takes_the_first_of_the_largest_at_temperature_one() -> None:
    logits = np.array([0.0, 3.0, 3.0, 1.0], np.float32)

    tokens, logprobs = draw(logits, [1, 2], sampling=a_sampling(temperature=0.0))

    assert tokens.tolist() == [1, 1]
    assert logprobs[0] == pytest.approx(3 - np.log(np.exp(logits).sum()), abs=1e-6)


def test_a_token_of_no_weight_is_never_drawn() -> None:
    logits = np.full(600, -np.inf, np.float32)
    logits[[255, 256, 599]] = 0.0

    tokens, logprobs = draw(logits, range(2000))

    assert set(tokens.tolist()) == {255, 256, 599}
    np.testing.assert_allclose(logprobs, -np.log(3), atol=1e-6)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_poisoned_logits_betray_themselves_in_the_logprob_of_their_row_only(poison: float) -> None:
    logits = np.zeros((2, 10), np.float32)
    logits[0, 4] = poison
    sampler = TokenSampler(seeds=[1, 2], positions=[0, 0], sampling=[a_sampling()] * 2)

    _, logprobs = sampler.sample(logits)

    assert np.isfinite(logprobs).tolist() == [False, True]


@settings(max_examples=200, deadline=None)
@given(
    logits=st.lists(st.integers(-6, 6), min_size=1, max_size=40),
    top_k=st.sampled_from([-1, 1, 2, 5, 39, 100]),
    top_p=st.sampled_from([0.01, 0.3, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_filters_keep_what_the_textbook_keeps(logits: list[int], top_k: int, top_p: float, min_p: float) -> None:
    weights = np.exp2(np.array(logits, np.float32))  # powers of two: sums are exact in any order
    sampling = Sampling(max_new_tokens=1, top_k=top_k, top_p=top_p, min_p=min_p)
    filtered = weights.copy()

    apply_filters(filtered, sampling)

    assert set(np.flatnonzero(filtered).tolist()) == naive_filter(weights, sampling)
    np.testing.assert_array_equal(filtered[filtered > 0], weights[filtered > 0])
