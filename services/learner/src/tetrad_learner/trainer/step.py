"""One training step: log-probabilities before the update, then update epochs of mini-batches.

Owns the order of phases. Each mini-batch is: forward and backward of its micro-batches, the proof that loss and
gradient are finite, one optimizer step. Must not know of files, sockets or how the model is sharded.
"""

# K trained tokens of a micro-batch · T all tokens of this rank · M mini-batches

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.census import take_census
from tetrad_learner.trainer.errors import BatchError, NonFiniteError
from tetrad_learner.trainer.facts import FactFinder, forward_inputs, on_device, select
from tetrad_learner.trainer.objective import Objective, TokenFacts
from tetrad_learner.trainer.optimizer import PolicyOptimizer
from tetrad_learner.trainer.options import TrainerOptions
from tetrad_learner.trainer.packing import MicroBatch, MicroBatchLimits, empty_micro_batch, micro_batches
from tetrad_learner.trainer.policy import Policy
from tetrad_learner.trainer.progress import OnProgress, Phase, Reporter
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.stopwatch import Stopwatch
from tetrad_learner.trainer.tally import Tally, mean_over_mini_batches

Plan = list[list[MicroBatch]]
"""Micro-batches of each mini-batch; every rank has the same number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a training step came to."""

    metrics: dict[str, float]
    """Equal on all ranks but for `seconds_*`."""


class TrainingStep:
    """Executes training steps on one rank; collective."""

    def __init__(
        self,
        *,
        policy: Policy,
        reference: Policy | None,
        optimizer: PolicyOptimizer,
        options: TrainerOptions,
        ranks: Ranks,
    ) -> None:
        self._policy, self._reference, self._optimizer, self._ranks = policy, reference, optimizer, ranks
        self._objective = Objective(options.algorithm)
        self._facts = FactFinder(options.algorithm, device=ranks.device)
        train_size = options.micro_train_batch_size
        self._train_limits = _limits(options, train_size)
        self._forward_limits = _limits(options, options.micro_forward_batch_size or train_size)

    def execute(self, batch: StepBatch, *, on_progress: OnProgress) -> StepResult:
        """Train on the batch.

        Raises BatchError or RankDisagreementError before anything is computed, NonFiniteError before anything that is
        not finite is applied.
        """
        watch = Stopwatch(self._ranks.device)
        self._check_tokens(batch)
        census = take_census(batch, self._ranks)
        facts, advantages = self._facts.find(batch, census)
        num_optimizer_steps = census.num_mini_batches * batch.update_epochs
        report = Reporter(on_progress)
        forward_plan = self._plan(batch, num_mini_batches=census.num_mini_batches, limits=self._forward_limits)
        facts = self._before_update(facts, forward_plan, needs_old=num_optimizer_steps > 1, report=report, watch=watch)
        plan = self._plan(batch, num_mini_batches=census.num_mini_batches, limits=self._train_limits)
        metrics = self._update(plan * batch.update_epochs, facts, step=batch.step, report=report, watch=watch)
        metrics["singleton_groups"] = float(advantages.singleton_groups)
        metrics["flat_groups"] = float(advantages.flat_groups)
        return StepResult(metrics=metrics | {f"seconds_{name}": s for name, s in watch.seconds().items()})

    def _check_tokens(self, batch: StepBatch) -> None:
        top = int(batch.token_ids.max()) if len(batch.token_ids) else 0
        if top >= self._policy.vocabulary:
            raise BatchError(f"token id {top} lies beyond the vocabulary of {self._policy.vocabulary}")

    def _plan(self, batch: StepBatch, *, num_mini_batches: int, limits: MicroBatchLimits) -> Plan:
        """Cut every mini-batch; ranks with fewer micro-batches get empty ones, for the collectives' sake."""
        plan = [micro_batches(batch, mini_batch=m, limits=limits) for m in range(num_mini_batches)]
        most_M = self._ranks.max(torch.tensor([len(micros) for micros in plan])).tolist()
        return [
            micros + [empty_micro_batch()] * (most - len(micros)) for micros, most in zip(plan, most_M, strict=True)
        ]

    def _before_update(
        self, facts: TokenFacts, plan: Plan, *, needs_old: bool, report: Reporter, watch: Stopwatch
    ) -> TokenFacts:
        """Add the log-probabilities of the reference, and of the policy as it is before the first update.

        With a single optimizer step the current log-probabilities *are* the old ones, and a forward pass is saved.
        """
        micros = [micro for mini_batch in plan for micro in mini_batch]
        if self._reference is not None:
            with watch.phase(Phase.REFERENCE_LOGPROBS), report.phase(Phase.REFERENCE_LOGPROBS, total=len(micros)):
                reference_T = self._logprobs(self._reference, micros, facts=facts, report=report)
            facts = dataclasses.replace(facts, reference_logprobs=reference_T)
        if needs_old:
            with watch.phase(Phase.OLD_LOGPROBS), report.phase(Phase.OLD_LOGPROBS, total=len(micros)):
                old_T = self._logprobs(self._policy, micros, facts=facts, report=report)
            facts = dataclasses.replace(facts, old_logprobs=old_T)
        return facts

    @torch.no_grad()
    def _logprobs(self, policy: Policy, micros: Sequence[MicroBatch], *, facts: TokenFacts, report: Reporter) -> Tensor:
        found_T = torch.zeros_like(facts.rollout_logprobs)
        for micro in micros:
            logprobs_K, _ = policy(forward_inputs(micro, facts))
            found_T[on_device(micro.token_T, found_T.device)] = logprobs_K
            report.micro_batch()
        # Without a backward pass nobody else would give the gathered embedding and head back.
        cast("FSDPModule", policy).reshard()
        return found_T

    def _update(
        self, plan: Plan, facts: TokenFacts, *, step: int, report: Reporter, watch: Stopwatch
    ) -> dict[str, float]:
        total = sum(len(micros) for micros in plan)
        seen: list[dict[str, float]] = []
        with report.phase(Phase.FORWARD_BACKWARD, total=total):
            for number, micros in enumerate(plan):
                with watch.phase(Phase.FORWARD_BACKWARD):
                    metrics = self._forward_backward(micros, facts, report=report)
                with watch.phase(Phase.OPTIMIZER):
                    seen.append(metrics | self._apply(metrics["loss"], step=step, mini_batch=number))
        return mean_over_mini_batches(seen) | {"optimizer_steps": float(len(seen)), "micro_batches": float(total)}

    def _forward_backward(
        self, micros: Sequence[MicroBatch], facts: TokenFacts, *, report: Reporter
    ) -> dict[str, float]:
        tally = Tally(self._ranks.device)
        for micro in micros:
            logprobs_K, entropy_K = self._policy(forward_inputs(micro, facts))
            index_K = on_device(micro.token_T, facts.token_ids.device)
            loss = self._objective(logprobs_K, entropy_K, select(facts, index_K))
            loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it bare
            tally.add(loss, entropy_K)
            report.micro_batch()
        return tally.metrics(self._ranks)

    def _apply(self, loss: float, *, step: int, mini_batch: int) -> dict[str, float]:
        if not math.isfinite(loss):
            raise NonFiniteError(what="loss", value=loss, step=step, mini_batch=mini_batch)
        gradient = self._optimizer.measure()
        if not math.isfinite(gradient.norm):
            raise NonFiniteError(what="gradient norm", value=gradient.norm, step=step, mini_batch=mini_batch)
        lr = self._optimizer.lr
        self._optimizer.apply(gradient)
        return {"grad_norm": gradient.norm, "lr": lr}


def _limits(options: TrainerOptions, max_samples: int) -> MicroBatchLimits:
    if max_samples < 1:
        raise ValueError(f"a micro-batch of {max_samples} samples trains nothing; the size must be at least 1")
    return MicroBatchLimits(
        max_samples=max_samples, max_tokens=options.max_tokens_per_micro_batch, layout=options.row_layout
    )
