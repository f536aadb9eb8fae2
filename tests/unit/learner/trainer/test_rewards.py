"""The divergence in the reward, against a loop over samples; and the one number that moves over the run."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tetrad_learner.trainer.algorithm_options import AlgorithmOptions, KlRewardSettings
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.errors import NonFiniteError
from tetrad_learner.trainer.passes import Known
from tetrad_learner.trainer.ranks import Ranks, join
from tetrad_learner.trainer.rewards import RewardShaper
from tetrad_learner.trainer.tokens import TrainedTokens

pytestmark = pytest.mark.usefixtures("lone_rank")

Builder = Callable[..., StepBatch]
ADAPTIVE = KlRewardSettings(is_adaptive=True, target=0.1, horizon=30)
OLD = torch.linspace(-2.0, -0.5, 12)
REFERENCE = torch.linspace(-0.5, -3.0, 12)


@pytest.fixture
def ranks() -> Ranks:
    return join(device="cpu", timeout_s=1.0)


def options(**changes: object) -> AlgorithmOptions:
    settings = {"use_kl_in_reward": True, "kl_loss_coef": 0.5, "kl_estimator_type": "k2"}
    return AlgorithmOptions(**(settings | changes))


def test_without_the_penalty_rewards_stay_whole(a_batch: Builder, ranks: Ranks) -> None:
    batch = a_batch()

    shaped = RewardShaper(AlgorithmOptions(), ranks).shape(batch, TrainedTokens.of(batch), Known())

    assert shaped.rewards_N.tolist() == [1.0, 0.0, 0.5]
    assert shaped.token_rewards_K is None
    assert shaped.metrics == {}


def test_each_trained_token_pays_for_its_divergence(a_batch: Builder, ranks: Ranks) -> None:
    batch = a_batch()

    shaped = RewardShaper(options(), ranks).shape(batch, TrainedTokens.of(batch), Known(old=OLD, reference=REFERENCE))

    kl = 0.5 * (OLD.double() - REFERENCE.double()).numpy() ** 2
    by_token = [-0.5 * kl[2], 1.0 - 0.5 * kl[3], -0.5 * kl[8], 0.5 - 0.5 * kl[10]]
    assert shaped.token_rewards_K is not None
    np.testing.assert_allclose(shaped.token_rewards_K.numpy(), by_token, atol=1e-12)
    np.testing.assert_allclose(
        shaped.rewards_N.numpy(), [by_token[0] + by_token[1], 0.0, by_token[2] + by_token[3]], atol=1e-12
    )
    assert shaped.metrics["reward_kl"] == pytest.approx(np.mean([kl[[2, 3]].mean(), kl[[8, 10]].mean()]))
    assert shaped.metrics["reward_kl_max"] == pytest.approx(np.mean([kl[[2, 3]].max(), kl[[8, 10]].max()]))
    assert shaped.metrics["kl_coef"] == 0.5


def test_rollout_logprobs_stand_in_where_there_are_no_old_ones(a_batch: Builder, ranks: Ranks) -> None:
    batch = a_batch(rollout_logprobs=OLD.tolist())
    tokens = TrainedTokens.of(batch)

    by_rollout = RewardShaper(options(), ranks).shape(batch, tokens, Known(reference=REFERENCE))
    by_learner = RewardShaper(options(), ranks).shape(batch, tokens, Known(old=OLD, reference=REFERENCE))

    assert torch.equal(by_rollout.rewards_N, by_learner.rewards_N)


def test_an_adaptive_coefficient_moves_after_the_step_and_a_fixed_one_never(a_batch: Builder, ranks: Ranks) -> None:
    batch = a_batch()
    fixed, adaptive = RewardShaper(options(), ranks), RewardShaper(options(kl_reward=ADAPTIVE), ranks)

    for shaper in (fixed, adaptive):
        for _ in range(2):
            shaper.shape(batch, TrainedTokens.of(batch), Known(old=OLD, reference=REFERENCE))

    assert fixed.coefficient == 0.5
    assert adaptive.coefficient == pytest.approx(0.5 * (1 + 0.2 * 3 / 30) ** 2)


def test_an_adaptive_coefficient_goes_on_where_a_checkpoint_left_it(ranks: Ranks) -> None:
    fixed, adaptive = RewardShaper(options(), ranks), RewardShaper(options(kl_reward=ADAPTIVE), ranks)

    for shaper in (fixed, adaptive):
        shaper.restore(0.123)

    assert adaptive.coefficient == 0.123
    assert fixed.coefficient == 0.5


def test_a_divergence_that_is_not_finite_poisons_the_step(a_batch: Builder, ranks: Ranks) -> None:
    batch, shaper = a_batch(), RewardShaper(options(kl_reward=ADAPTIVE), ranks)
    broken = OLD.clone()
    broken[3] = math.nan

    with pytest.raises(NonFiniteError, match="divergence from the reference is nan in step 1"):
        shaper.shape(batch, TrainedTokens.of(batch), Known(old=broken, reference=REFERENCE))


def test_the_divergence_is_in_the_loss_or_in_the_reward() -> None:
    with pytest.raises(ValueError, match="count twice"):
        AlgorithmOptions(use_kl_loss=True, use_kl_in_reward=True)
