"""Where memory runs out, a step begins again with smaller micro-batches and gives what these give from the start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numerics.algorithm_cases import case_options
from numerics.trainer_builders import AStep, exported, last_gradient, options
from torch import Tensor, nn

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import MemoryShortError
from tetrad_learner.trainer.options import AlgorithmOptions, LoraOptions, RowLayout, TrainerOptions
from tetrad_learner.trainer.shortage import Pass, is_shortage

pytestmark = pytest.mark.usefixtures("lone_rank")

SAID = "CUDA out of memory. Tried to allocate 2.00 GiB."
STEP = AStep(num_groups=4, group_size=4, num_mini_batches=2, update_epochs=2)
KL = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1)


def short_in_forward(tokens: int) -> Callable[[nn.Module, Any, Any], None]:
    """A layer on a device that cannot hold its output for more tokens than these."""

    def check(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.shape[0] * hidden.shape[1] > tokens:
            raise torch.OutOfMemoryError(SAID)

    return check


def short_in_backward(tokens: int) -> Callable[[nn.Module, Any, Any], None]:
    """The same on the way back, where gradients need their room."""

    def check(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        num_tokens = hidden.shape[0] * hidden.shape[1]

        def back(_gradient: Tensor) -> None:
            if num_tokens > tokens:
                raise torch.OutOfMemoryError(SAID)

        if hidden.requires_grad:
            hidden.register_hook(back)

    return check


def layers_of(model: nn.Module) -> list[nn.Module]:
    return [module for name, module in model.named_modules() if name.endswith("layers.0")]


def a_trainer(chosen: TrainerOptions, *, samples: int, layout: RowLayout = RowLayout.PADDED) -> Trainer:
    settings = {"micro_train_batch_size": samples, "micro_forward_batch_size": samples, "row_layout": layout}
    return Trainer.create(dataclasses.replace(chosen, **settings))


SHORT = {"forward": short_in_forward, "backward": short_in_backward}


@pytest.mark.parametrize(("where", "layout"), [("backward", RowLayout.PADDED), ("forward", RowLayout.PACKED)])
def test_a_step_that_began_again_gives_bit_for_bit_what_smaller_micro_batches_give(
    tied_model: Path, where: str, layout: RowLayout
) -> None:
    chosen = options(tied_model)
    step = dataclasses.replace(STEP, num_mini_batches=1, update_epochs=1)
    short, small = a_trainer(chosen, samples=16, layout=layout), a_trainer(chosen, samples=4, layout=layout)
    # Four of the longest samples fit, eight samples do not.
    layers_of(short._policy)[0].register_forward_hook(SHORT[where](4 * STEP.longest))

    result = short.execute(step.share())
    expected = small.execute(step.share())

    assert np.array_equal(last_gradient(short), last_gradient(small))
    assert np.array_equal(exported(short), exported(small))
    assert result.metrics["loss"] == expected.metrics["loss"]
    assert [(one.before, one.after, one.of) for one in result.lowered] == [(16, 8, Pass.TRAIN), (8, 4, Pass.TRAIN)]
    assert expected.lowered == ()


@pytest.mark.parametrize("where", ["forward", pytest.param("backward", marks=pytest.mark.long)])
def test_epochs_mini_batches_and_a_reference_are_gone_through_as_with_smaller_micro_batches(
    tied_model: Path, reference_model: Path, where: str
) -> None:
    chosen = options(tied_model, algorithm=KL, reference_path=str(reference_model))
    short, small = a_trainer(chosen, samples=8), a_trainer(chosen, samples=4)
    for model in (short._policy, short._reference.model):
        layers_of(model)[0].register_forward_hook(SHORT[where](4 * STEP.longest))

    first, second = (short.execute(dataclasses.replace(STEP, step=n, seed=n).share()) for n in (1, 2))
    for number in (1, 2):
        small.execute(dataclasses.replace(STEP, step=number, seed=number).share())

    # In the forward pass alone the old log-probabilities were asked for in larger micro-batches.
    np.testing.assert_allclose(exported(short), exported(small), rtol=0, atol=1e-6)
    assert {one.of for one in first.lowered} == ({Pass.FORWARD, Pass.TRAIN} if where == "forward" else {Pass.TRAIN})
    assert second.lowered == (), "what did not fit once is not tried again"
    assert short.optimizer_steps == small.optimizer_steps == 8


def test_the_critic_begins_again_as_the_policy_does(tied_model: Path, reference_model: Path) -> None:
    chosen = case_options("gae", model=tied_model, reference=reference_model)
    short, small = a_trainer(chosen, samples=4), a_trainer(chosen, samples=2)
    layers_of(short._critic)[0].register_forward_hook(short_in_backward(2 * STEP.longest))

    result = short.execute(STEP.share())
    small.execute(STEP.share())

    assert result.lowered
    np.testing.assert_allclose(exported(short), exported(small), rtol=0, atol=1e-6)


def test_adapters_drop_what_they_would_have_dropped(tied_model: Path) -> None:
    chosen = options(tied_model, lora=LoraOptions(rank=3, dropout=0.5))
    step = dataclasses.replace(STEP, num_mini_batches=1, update_epochs=1)
    short, small = a_trainer(chosen, samples=8), a_trainer(chosen, samples=4)
    layers_of(short._policy)[0].register_forward_hook(short_in_backward(4 * STEP.longest))

    torch.manual_seed(5)
    short.execute(step.share())
    torch.manual_seed(5)
    small.execute(step.share())

    assert np.array_equal(last_gradient(short), last_gradient(small))


def test_a_token_budget_is_halved_too(tied_model: Path) -> None:
    chosen = options(tied_model, micro_train_batch_size=1 << 20, max_tokens_per_micro_batch=120)
    short = Trainer.create(chosen)
    layers_of(short._policy)[0].register_forward_hook(short_in_forward(60))

    result = short.execute(STEP.share())

    assert all(one.counts_tokens for one in result.lowered)
    assert result.lowered[-1].after <= 60 < result.lowered[-1].before


def test_a_single_sample_that_does_not_fit_ends_the_step_and_leaves_the_weights(tied_model: Path) -> None:
    short = a_trainer(options(tied_model), samples=8)
    hook = layers_of(short._policy)[0].register_forward_hook(short_in_forward(2))
    before = exported(short)

    with pytest.raises(MemoryShortError, match=r"single sample already: CUDA out of memory") as caught:
        short.execute(STEP.share())

    hook.remove()
    assert caught.value.shrink_by == 0
    assert np.array_equal(exported(short), before)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tied_model: Path) -> None:
    trainer = a_trainer(options(tied_model), samples=8)

    def broken(_layer: nn.Module, _inputs: Any, _output: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    layers_of(trainer._policy)[0].register_forward_hook(broken)

    with pytest.raises(RuntimeError, match="mat1"):
        trainer.execute(STEP.share())


def test_what_torch_says_of_the_hosts_memory_counts_as_well() -> None:
    # More than any machine has; nothing is touched.
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)

    assert is_shortage(caught.value)
    assert is_shortage(torch.OutOfMemoryError(SAID))
    assert not is_shortage(RuntimeError("another"))
