"""One training step, in order: masks, forward passes, correction, rewards, advantages, critic, policy.

Owns the order and which parts a configuration needs. Must not know of files, sockets or how models are sharded.
"""

# T all tokens of this rank · K its trained tokens · N samples of the step, on all ranks

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tetrad_algorithms.masking import reductions
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.census import recount, take_census, token_weights
from tetrad_learner.trainer.credit import Credit, CreditAssigner
from tetrad_learner.trainer.errors import BatchError
from tetrad_learner.trainer.facts import TokenFacts
from tetrad_learner.trainer.filters import without_flat_groups
from tetrad_learner.trainer.mismatch import MismatchJudge, Verdict
from tetrad_learner.trainer.objective import Objective
from tetrad_learner.trainer.optimizer import PolicyOptimizer
from tetrad_learner.trainer.options import TrainerOptions
from tetrad_learner.trainer.passes import Known, Models, Monitor, ask
from tetrad_learner.trainer.plan import MicroBatchSize, Plan, forward_size, train_size
from tetrad_learner.trainer.policy_step import PolicyStep
from tetrad_learner.trainer.progress import OnProgress, Reporter
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.rewards import RewardShaper
from tetrad_learner.trainer.selection import Selector
from tetrad_learner.trainer.shortage import Lowered, Shortage
from tetrad_learner.trainer.stopwatch import Stopwatch
from tetrad_learner.trainer.subject import Subject
from tetrad_learner.trainer.tokens import TrainedTokens
from tetrad_learner.trainer.utilisation import peak_of, utilisation
from tetrad_learner.trainer.value_step import ValueStep


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a training step came to."""

    metrics: dict[str, float]
    """Equal on all ranks but for `seconds_*`."""
    advantages: NDArray[np.float32]
    """float32[S]: of each of this rank's samples, the mean over its trained tokens; NaN where none is trained."""
    lowered: tuple[Lowered, ...] = ()
    """Micro-batches that had to be made smaller on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizers:
    """Who steps the weights."""

    policy: PolicyOptimizer
    critic: PolicyOptimizer | None = None


class TrainingStep:
    """Executes training steps on one rank; collective."""

    def __init__(self, *, models: Models, optimizers: Optimizers, options: TrainerOptions, ranks: Ranks) -> None:
        algorithm = options.algorithm
        self._models, self._ranks, self._algorithm = models, ranks, algorithm
        self.rewards = RewardShaper(algorithm, ranks)
        self._credit = CreditAssigner(algorithm, ranks)
        self._mismatch = MismatchJudge(algorithm.correction, ranks)
        self._selector = Selector(algorithm, ranks=ranks, seed=options.seed)
        self._reduction = reductions.get(algorithm.loss_reduction)
        self._train_size, self._forward_size = train_size(options), forward_size(options)
        self._shortage = Shortage(ranks)
        self._policy_step = PolicyStep(
            policy=models.policy,
            optimizer=optimizers.policy,
            objective=Objective(algorithm),
            sharding=options.sharding,
            shortage=self._shortage,
            ranks=ranks,
        )
        self._value_step = self._made_value_step(optimizers, options)

    def execute(self, batch: StepBatch, *, on_progress: OnProgress) -> StepResult:
        """Train on the batch.

        Raises BatchError or RankDisagreementError before anything is computed, NonFiniteError before anything that is
        not finite is applied, MemoryShortError where smaller micro-batches do not help, or this rank is not alone.
        """
        monitor = Monitor(report=Reporter(on_progress), watch=Stopwatch(self._ranks.device))
        subject = self._subject(batch)
        known = self._ask(subject, monitor)
        verdict = self._mismatch.judge(subject.tokens, old_T=known.old)
        credit = self._assign(subject, known, verdict)
        metrics = credit.metrics | verdict.metrics
        if self._value_step is not None:
            metrics |= self._value_step.execute(subject, credit, known, monitor=monitor)
        metrics |= self._train_policy(subject, known, verdict, credit, monitor)
        seconds = monitor.watch.seconds()
        return StepResult(
            metrics=metrics | {f"seconds_{name}": s for name, s in seconds.items()} | self._use(batch, seconds["step"]),
            advantages=credit.by_sample(subject.tokens, batch.sample_index),
            lowered=self._shortage.take(),
        )

    def _use(self, batch: StepBatch, seconds: float) -> dict[str, float]:
        """How well this rank's GPU was used, where we know what it can do."""
        parameters = sum(weight.numel() for weight in self._models.policy.parameters())
        tokens = len(batch.token_ids) * batch.update_epochs
        mfu = utilisation(parameters=parameters, tokens=tokens, seconds=seconds, peak=peak_of(self._ranks.device))
        return {} if mfu is None else {"mfu": mfu}

    def _subject(self, batch: StepBatch) -> Subject:
        """Check the batch, and take out of it what is known to teach nothing."""
        top = int(batch.token_ids.max()) if len(batch.token_ids) else 0
        if top >= self._models.policy.vocabulary:
            raise BatchError(f"token id {top} lies beyond the vocabulary of {self._models.policy.vocabulary}")
        census = take_census(batch, self._ranks)
        if self._algorithm.zero_variance_filter:
            batch = without_flat_groups(batch)
            census = recount(census, batch, self._ranks)
        token_ids = torch.tensor(batch.token_ids, dtype=torch.int64, device=self._ranks.device)
        return Subject(batch=batch, census=census, tokens=TrainedTokens.of(batch), token_ids=token_ids)

    def _ask(self, subject: Subject, monitor: Monitor) -> Known:
        """Run the forward passes that are needed.

        With a single optimizer step the current log-probabilities *are* the old ones: unless something must know them
        beforehand, a forward pass is saved.
        """
        algorithm = self._algorithm
        num_updates = subject.census.num_mini_batches * subject.batch.update_epochs
        looks_ahead = algorithm.correction.is_on or algorithm.use_kl_in_reward or self._selector.is_on
        needs_old = (num_updates > 1 or looks_ahead) and not algorithm.use_rollout_logprobs_as_old
        plan = self._plan(subject, self._forward_size)
        return ask(self._models, plan, subject.token_ids, needs_old=needs_old, shortage=self._shortage, monitor=monitor)

    def _assign(self, subject: Subject, known: Known, verdict: Verdict) -> Credit:
        rewards = self.rewards.shape(subject.batch, subject.tokens, known)
        values_K = None if known.values is None else subject.tokens.taken(known.values)
        return self._credit.assign(subject.batch, subject.tokens, rewards, values_K=values_K, keep_K=verdict.keep_K)

    def _train_policy(
        self, subject: Subject, known: Known, verdict: Verdict, credit: Credit, monitor: Monitor
    ) -> dict[str, float]:
        if self._mismatch.masks:
            subject = subject.kept(verdict.keep_K, self._ranks)
        facts = self._facts(subject, known, verdict, credit)
        plan, batch = self._plan(subject, self._train_size), subject.batch
        done = self._policy_step.update(plan, facts, epochs=batch.update_epochs, step=batch.step, monitor=monitor)
        learner_T = done.seen_logprobs if known.old is None else known.old
        return done.metrics | self._mismatch.figures(subject.tokens, learner_T)

    def _facts(self, subject: Subject, known: Known, verdict: Verdict, credit: Credit) -> TokenFacts:
        """Bring all that the loss looks at to the device."""
        device, batch, tokens = self._ranks.device, subject.batch, subject.tokens
        rollout_T = torch.tensor(batch.rollout_logprobs, device=device)
        old_T = rollout_T if self._algorithm.use_rollout_logprobs_as_old else known.old
        weight_N = token_weights(
            subject.census,
            batch=batch,
            reduction=self._reduction,
            max_sequence_tokens=self._algorithm.max_sequence_tokens,
        )
        selected_K = self._select(subject, old_T, verdict, credit)
        return TokenFacts(
            token_ids=subject.token_ids,
            sample=torch.tensor(batch.sample_of_token, dtype=torch.int64, device=device),
            advantages=tokens.spread(credit.advantages_K, device=device),
            weights=tokens.spread(weight_N[tokens.sample_K], device=device),
            rollout_logprobs=rollout_T,
            old_logprobs=old_T,
            reference_logprobs=known.reference if self._algorithm.use_kl_loss else None,
            importance=None if verdict.weight_K is None else tokens.spread(verdict.weight_K, device=device),
            selected=None if selected_K is None else tokens.spread(selected_K, device=device),
        )

    def _select(self, subject: Subject, old_T: Tensor | None, verdict: Verdict, credit: Credit) -> Tensor | None:
        if not self._selector.is_on:
            return None
        assert old_T is not None
        return self._selector.select(
            subject.tokens,
            subject.census,
            old_K=subject.tokens.taken(old_T),
            advantages_K=credit.advantages_K,
            keep_K=verdict.keep_K,
            step=subject.batch.step,
        )

    def _plan(self, subject: Subject, size: MicroBatchSize) -> Plan:
        return Plan(subject.batch, num_mini_batches=subject.census.num_mini_batches, size=size, ranks=self._ranks)

    def _made_value_step(self, optimizers: Optimizers, options: TrainerOptions) -> ValueStep | None:
        if self._models.critic is None or optimizers.critic is None or options.critic is None:
            return None
        return ValueStep(
            critic=self._models.critic,
            optimizer=optimizers.critic,
            options=options.critic,
            size=self._train_size,
            shortage=self._shortage,
            ranks=self._ranks,
        )
