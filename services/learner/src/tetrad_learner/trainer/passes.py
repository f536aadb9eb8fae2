"""Forward passes without gradient: what the models said of the step's tokens before its first update.

Owns which passes a configuration needs. Must not know what is made of the answers.
"""

# T all tokens of this rank

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from tetrad_learner.trainer.critic import Critic
from tetrad_learner.trainer.facts import forward_inputs, on_device
from tetrad_learner.trainer.packing import MicroBatch
from tetrad_learner.trainer.plan import Plan
from tetrad_learner.trainer.policy import Policy
from tetrad_learner.trainer.progress import Phase, Reporter
from tetrad_learner.trainer.reference import Reference
from tetrad_learner.trainer.shortage import Pass, Shortage
from tetrad_learner.trainer.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Answers of the models; float32[T] on the device, None where nobody asked. 0 where nothing is trained."""

    old: Tensor | None = None
    """Log-probabilities of the policy."""
    reference: Tensor | None = None
    """Log-probabilities of the reference model."""
    values: Tensor | None = None
    """Values of the critic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Whoever can be asked."""

    policy: Policy
    reference: Reference | None
    critic: Critic | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """How a step tells where it is and what its time went to."""

    report: Reporter
    watch: Stopwatch


def ask(
    models: Models, plan: Plan, token_ids: Tensor, *, needs_old: bool, shortage: Shortage, monitor: Monitor
) -> Known:
    """Run the passes that are needed; collective."""

    def answers(phase: Phase, model: nn.Module | None) -> Tensor | None:
        if model is None:
            return None
        asked = model
        with monitor.watch.phase(phase), monitor.report.phase(phase, total=len(plan.all)), _evaluating(asked):
            return shortage.bear(
                lambda: _answers(asked, plan.all, token_ids, on_micro_batch=monitor.report.micro_batch),
                model=asked,
                plan=plan,
                of=Pass.FORWARD,
            )

    def answers_of_reference() -> Tensor | None:
        if models.reference is None:
            return None
        with models.reference.in_force() as model:
            return answers(Phase.REFERENCE_LOGPROBS, model)

    return Known(
        reference=answers_of_reference(),
        old=answers(Phase.OLD_LOGPROBS, models.policy if needs_old else None),
        values=answers(Phase.VALUES, models.critic),
    )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Within the body, drop nothing: what is asked here must not depend on chance."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@torch.no_grad()
def _answers(
    model: nn.Module, micros: Sequence[MicroBatch], token_ids: Tensor, *, on_micro_batch: Callable[[], None]
) -> Tensor:
    found_T = torch.zeros(len(token_ids), dtype=torch.float32, device=token_ids.device)
    for micro in micros:
        answer = model(forward_inputs(micro, token_ids))
        # A policy says log-probabilities and entropies, a critic values.
        found_T[on_device(micro.token_T, found_T.device)] = answer[0] if isinstance(answer, tuple) else answer
        on_micro_batch()
    # Without a backward pass nobody else would give gathered parameters back.
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    return found_T
