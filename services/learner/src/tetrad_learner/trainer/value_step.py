"""The critic's part of a training step: its own mini-batches, before the policy's.

The loss is averaged over the trained tokens of each sample, then over samples, as in SkyRL. Must not know where returns
came from.
"""

# T all tokens of this rank · K its trained tokens, or those of a micro-batch · N samples of the step, on all ranks

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from tetrad_algorithms.masking import sequence_mean
from tetrad_algorithms.values import explained_variance, value_loss
from tetrad_learner.trainer.accumulation import Accumulation
from tetrad_learner.trainer.census import Census, by_prompts, token_weights
from tetrad_learner.trainer.credit import Credit
from tetrad_learner.trainer.critic import Critic
from tetrad_learner.trainer.facts import ValueFacts, forward_inputs, on_device, select
from tetrad_learner.trainer.optimizer import PolicyOptimizer
from tetrad_learner.trainer.options import CriticOptions
from tetrad_learner.trainer.packing import MicroBatch, empty_micro_batch
from tetrad_learner.trainer.passes import Known, Monitor
from tetrad_learner.trainer.plan import MicroBatchSize, Plan
from tetrad_learner.trainer.progress import Phase
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.shortage import Pass, Shortage
from tetrad_learner.trainer.subject import Subject
from tetrad_learner.trainer.tally import TOKENS, Tally, mean_over_mini_batches
from tetrad_learner.trainer.updates import update

LOSS: Final = "critic_loss"
CLIPPED: Final = "values_clipfrac"


class ValueStep:
    """Updates the critic; collective."""

    def __init__(
        self,
        *,
        critic: Critic,
        optimizer: PolicyOptimizer,
        options: CriticOptions,
        size: MicroBatchSize,
        shortage: Shortage,
        ranks: Ranks,
    ) -> None:
        self._critic, self._optimizer, self._options = critic, optimizer, options
        self._size, self._shortage, self._ranks = size, shortage, ranks
        self._accumulation = Accumulation(critic, sharding=options.sharding, ranks=ranks)

    def execute(self, subject: Subject, credit: Credit, known: Known, *, monitor: Monitor) -> dict[str, float]:
        """Train the critic on all trained tokens of the subject; return metrics that are equal on all ranks."""
        assert known.values is not None
        assert credit.returns_K is not None
        census = by_prompts(subject.census, subject.batch, prompts=self._options.mini_batch_prompts)
        facts = ValueFacts(
            token_ids=subject.token_ids,
            old_values=known.values,
            returns=subject.tokens.spread(credit.returns_K, device=self._ranks.device),
            weights=self._weights(subject, census),
        )
        mini_batch = census.mini_batch_N.numpy()[subject.batch.sample_index].astype(np.int32)
        batch = dataclasses.replace(subject.batch, mini_batch=mini_batch)
        plan = Plan(batch, num_mini_batches=census.num_mini_batches, size=self._size, ranks=self._ranks)
        metrics = self._update(plan, facts, epochs=batch.update_epochs, step=batch.step, monitor=monitor)
        return metrics | self._figures(subject.tokens.taken(known.values), credit.returns_K)

    def _weights(self, subject: Subject, census: Census) -> Tensor:
        weight_N = token_weights(census, batch=subject.batch, reduction=sequence_mean, max_sequence_tokens=0)
        return subject.tokens.spread(weight_N[subject.tokens.sample_K], device=self._ranks.device)

    def _figures(self, values_K: Tensor, returns_K: Tensor) -> dict[str, float]:
        """How good the values were before the update."""
        count, total = self._ranks.sum(
            torch.stack([values_K.new_tensor(float(len(values_K))), values_K.sum()])
        ).tolist()
        explained = explained_variance(values_K, returns_K, sum_over_ranks=self._ranks.sum)
        return {"values_mean": total / max(1.0, count), "explained_variance": explained}

    def _update(self, plan: Plan, facts: ValueFacts, *, epochs: int, step: int, monitor: Monitor) -> dict[str, float]:
        seen: list[dict[str, float]] = []
        with monitor.report.phase(Phase.CRITIC_FORWARD_BACKWARD, total=len(plan.all) * epochs):
            for number in range(len(plan) * epochs):
                mini_batch = number % len(plan)
                if not plan[mini_batch]:
                    continue
                with monitor.watch.phase(Phase.CRITIC_FORWARD_BACKWARD):
                    metrics = self._borne(plan, mini_batch, facts, monitor=monitor)
                with monitor.watch.phase(Phase.CRITIC_OPTIMIZER):
                    loss = metrics[LOSS]
                    done = update(self._optimizer, loss=loss, whose="critic ", step=step, mini_batch=number)
                seen.append(metrics | done)
        return _named(mean_over_mini_batches(seen)) | {"critic_optimizer_steps": float(len(seen))}

    def _borne(self, plan: Plan, mini_batch: int, facts: ValueFacts, *, monitor: Monitor) -> dict[str, float]:
        return self._shortage.bear(
            lambda: self._forward_backward(plan[mini_batch], facts, monitor=monitor),
            model=self._critic,
            plan=plan,
            of=Pass.TRAIN,
            forget=lambda: self._forget(facts, monitor=monitor),
        )

    def _forget(self, facts: ValueFacts, *, monitor: Monitor) -> None:
        """Drop what has accumulated, as PolicyStep does."""
        self._forward_backward([empty_micro_batch()], facts, monitor=monitor)
        self._optimizer.forget()

    def _forward_backward(
        self, micros: Sequence[MicroBatch], facts: ValueFacts, *, monitor: Monitor
    ) -> dict[str, float]:
        tally = Tally(totals=(LOSS,), per_token=(CLIPPED,), device=self._ranks.device)
        for micro in self._accumulation.over(micros):
            values_K = self._critic(forward_inputs(micro, facts.token_ids))
            index_K = on_device(micro.token_T, facts.token_ids.device)
            here = select(facts, index_K)
            terms = value_loss(values_K, here.old_values, here.returns, clip=self._options.value_clip)
            loss = (here.weights * terms.loss_T).sum()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it bare
            tally.add({LOSS: loss, CLIPPED: terms.is_clipped_T.sum()}, num_tokens=len(index_K))
            monitor.report.micro_batch()
        return tally.metrics(self._ranks)


def _named(folded: dict[str, float]) -> dict[str, float]:
    """What the policy reports as well gets the critic's name."""
    renamed = {"grad_norm": "critic_grad_norm", "lr": "critic_lr"}
    return {renamed.get(name, name): value for name, value in folded.items() if name != TOKENS}
