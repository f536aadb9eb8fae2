"""The first number that is not finite is found where it began."""

import pytest
import torch
from torch import nn

from tetrad_learner.trainer.diagnosis import is_finite, strange_tensors, watched


class Parts(nn.Module):
    """Three layers, the last of which is computed first."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.third, self.first = (nn.Linear(2, 2, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.third(self.second(self.first(x)))
        return found


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_number_is_enough(bad: float) -> None:
    assert not is_finite(torch.tensor([0.0, bad]))


def test_whole_numbers_are_finite() -> None:
    assert is_finite(torch.tensor([2**62]))


def test_the_first_module_is_the_first_to_be_computed() -> None:
    module = Parts()
    with torch.no_grad():
        module.second.weight.fill_(float("nan"))

    with watched(module) as seen:
        module(torch.ones(1, 2))

    assert seen.name == "second"


def test_where_all_is_finite_no_module_is_named() -> None:
    with watched(Parts()) as seen:
        Parts()(torch.ones(1, 2))

    assert seen.name is None


def test_nothing_is_watched_any_more_afterwards() -> None:
    module = Parts()
    with watched(module) as seen:
        pass

    module(torch.full((1, 2), float("nan")))

    assert seen.name is None


def test_weights_are_named_before_gradients_in_the_order_of_the_module() -> None:
    module = Parts()
    with torch.no_grad():
        module.third.weight[0, 0] = float("inf")
    module.second.weight.grad = torch.full((2, 2), float("nan"))
    module.first.weight.grad = torch.zeros(2, 2)

    assert list(strange_tensors(module)) == ["weight third.weight", "gradient of second.weight"]
