"""How the terms of the loss add up."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tetrad_algorithms.registry import UnknownNameError
from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.facts import TokenFacts
from tetrad_learner.trainer.objective import Objective

ENTROPY = torch.tensor([2.0, 1.0])


def logprobs() -> Tensor:
    return torch.tensor([-1.0, -2.0], requires_grad=True)


def facts(**changes: Tensor) -> TokenFacts:
    plain = TokenFacts(
        token_ids=torch.tensor([5, 6]),
        sample=torch.tensor([0, 1]),
        advantages=torch.tensor([1.0, -2.0]),
        weights=torch.tensor([0.25, 0.5]),
        rollout_logprobs=torch.tensor([-1.5, -2.0]),
    )
    return dataclasses.replace(plain, **changes)


def test_the_policy_loss_is_weighted_per_token() -> None:
    loss = Objective(AlgorithmOptions())(logprobs(), ENTROPY, facts())

    assert float(loss.total.detach()) == pytest.approx(-0.25 * 1.0 + 0.5 * 2.0)
    assert float(loss.kl) == 0.0


def test_without_old_logprobs_the_current_ones_stand_in_without_gradient() -> None:
    current = logprobs()

    Objective(AlgorithmOptions())(current, ENTROPY, facts()).total.backward()

    assert current.grad is not None
    assert current.grad.tolist() == [-0.25, 1.0]


def test_the_kl_term_is_added_with_its_coefficient_and_logged_without() -> None:
    reference = facts(reference_logprobs=torch.tensor([-1.0, -3.0]))
    options = AlgorithmOptions(kl_loss_coef=0.1, kl_estimator_type="k1")

    loss = Objective(options)(logprobs(), ENTROPY, reference)

    assert float(loss.kl) == pytest.approx(0.5)
    assert float(loss.total.detach()) == pytest.approx(float(loss.policy) + 0.05)


def test_the_entropy_bonus_lowers_the_loss() -> None:
    loss = Objective(AlgorithmOptions(entropy_loss_coef=0.1))(logprobs(), ENTROPY, facts())

    assert float(loss.total.detach()) == pytest.approx(float(loss.policy) - 0.1 * (0.25 * 2 + 0.5 * 1))


def test_an_importance_weight_scales_the_policy_loss_alone() -> None:
    options = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1, kl_estimator_type="k1", entropy_loss_coef=0.2)
    reference = facts(reference_logprobs=torch.tensor([-1.0, -3.0]))
    weighed = dataclasses.replace(reference, importance=torch.tensor([2.0, 0.5]))

    plain, loss = (Objective(options)(logprobs(), ENTROPY, each) for each in (reference, weighed))

    assert float(loss.policy) == pytest.approx(-0.25 * 1.0 * 2.0 + 0.5 * 2.0 * 0.5)
    assert (loss.total - loss.policy).item() == pytest.approx((plain.total - plain.policy).item())


def test_the_divergence_from_the_old_policy_is_summed() -> None:
    loss = Objective(AlgorithmOptions())(logprobs(), ENTROPY, facts(old_logprobs=torch.tensor([-0.5, -1.75])))

    assert float(loss.old_kl) == pytest.approx(0.5 + 0.25)


@pytest.mark.parametrize("change", [{"policy_loss_type": "reguler"}, {"kl_estimator_type": "k9"}])
def test_a_name_that_is_not_registered_is_refused_at_once(change: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError):
        Objective(AlgorithmOptions(**change))
