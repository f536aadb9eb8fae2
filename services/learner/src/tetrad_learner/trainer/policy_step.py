"""The policy's part of a training step: update epochs of mini-batches.

Each mini-batch is: forward and backward of its micro-batches, the proof that loss and gradient are finite, one
optimizer step. Must not know where advantages came from.
"""

# T all tokens of this rank · K trained tokens of a micro-batch

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tetrad_learner.trainer.accumulation import Accumulation
from tetrad_learner.trainer.facts import TokenFacts, forward_inputs, on_device, select
from tetrad_learner.trainer.objective import Objective
from tetrad_learner.trainer.optimizer import PolicyOptimizer
from tetrad_learner.trainer.options import ShardingOptions
from tetrad_learner.trainer.packing import MicroBatch, empty_micro_batch
from tetrad_learner.trainer.passes import Monitor
from tetrad_learner.trainer.plan import Plan
from tetrad_learner.trainer.policy import Policy
from tetrad_learner.trainer.progress import Phase
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.shortage import Pass, Shortage
from tetrad_learner.trainer.tally import Tally, mean_over_mini_batches
from tetrad_learner.trainer.updates import update

TOTALS: Final = ("loss", "policy_loss", "kl_loss")
PER_TOKEN: Final = ("entropy", "clip_ratio", "ppo_kl")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyUpdate:
    """What came of it."""

    metrics: dict[str, float]
    """Equal on all ranks."""
    seen_logprobs: Tensor
    """float32[T] on the device: log-probabilities as each token was first trained on."""


class PolicyStep:
    """Updates the policy; collective."""

    def __init__(
        self,
        *,
        policy: Policy,
        optimizer: PolicyOptimizer,
        objective: Objective,
        sharding: ShardingOptions,
        shortage: Shortage,
        ranks: Ranks,
    ) -> None:
        self._policy, self._optimizer, self._objective, self._ranks = policy, optimizer, objective, ranks
        self._shortage = shortage
        self._accumulation = Accumulation(policy, sharding=sharding, ranks=ranks)

    def update(self, plan: Plan, facts: TokenFacts, *, epochs: int, step: int, monitor: Monitor) -> PolicyUpdate:
        """Go through the plan once per epoch; a mini-batch without trained tokens takes no optimizer step."""
        seen_T = torch.zeros_like(facts.rollout_logprobs)
        found: list[dict[str, float]] = []
        num_micros = 0
        with monitor.report.phase(Phase.FORWARD_BACKWARD, total=len(plan.all) * epochs):
            for number in range(len(plan) * epochs):
                mini_batch = number % len(plan)
                if not plan[mini_batch]:
                    continue
                with monitor.watch.phase(Phase.FORWARD_BACKWARD):
                    first_T = seen_T if number < len(plan) else None
                    metrics = self._borne(plan, mini_batch, facts, first_T=first_T, monitor=monitor)
                num_micros += len(plan[mini_batch])
                with monitor.watch.phase(Phase.OPTIMIZER):
                    done = update(self._optimizer, loss=metrics["loss"], whose="", step=step, mini_batch=number)
                found.append(metrics | done)
        counts = {
            "optimizer_steps": float(len(found)),
            "skipped_mini_batches": float(len(plan) * epochs - len(found)),
            "micro_batches": float(num_micros),
        }
        return PolicyUpdate(metrics=mean_over_mini_batches(found) | counts, seen_logprobs=seen_T)

    def _borne(
        self, plan: Plan, mini_batch: int, facts: TokenFacts, *, first_T: Tensor | None, monitor: Monitor
    ) -> dict[str, float]:
        return self._shortage.bear(
            lambda: self._forward_backward(plan[mini_batch], facts, first_T=first_T, monitor=monitor),
            model=self._policy,
            plan=plan,
            of=Pass.TRAIN,
            forget=lambda: self._forget(facts, monitor=monitor),
        )

    def _forget(self, facts: TokenFacts, *, monitor: Monitor) -> None:
        """Drop what has accumulated. A sharded model hands it out at the end of a mini-batch: this one is empty."""
        self._forward_backward([empty_micro_batch()], facts, first_T=None, monitor=monitor)
        self._optimizer.forget()

    def _forward_backward(
        self, micros: Sequence[MicroBatch], facts: TokenFacts, *, first_T: Tensor | None, monitor: Monitor
    ) -> dict[str, float]:
        tally = Tally(totals=TOTALS, per_token=PER_TOKEN, device=self._ranks.device)
        for micro in self._accumulation.over(micros):
            logprobs_K, entropy_K = self._policy(forward_inputs(micro, facts.token_ids))
            index_K = on_device(micro.token_T, facts.token_ids.device)
            loss = self._objective(logprobs_K, entropy_K, select(facts, index_K))
            loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it bare
            parts = {
                "loss": loss.total,
                "policy_loss": loss.policy,
                "kl_loss": loss.kl,
                "entropy": entropy_K.sum(),
                "clip_ratio": loss.num_clipped,
                "ppo_kl": loss.old_kl,
            }
            tally.add(parts, num_tokens=len(index_K))
            if first_T is not None:
                first_T[index_K] = logprobs_K.detach()
            monitor.report.micro_batch()
        return tally.metrics(self._ranks)
