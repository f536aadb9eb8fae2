"""What a seed means: the sizes of a run, and what will go wrong in it."""

import random
from dataclasses import dataclass, field, replace

from tetrad_learner.coordinator.core import CoreConfig
from tetrad_learner.coordinator.core.config import NO_LIMIT, Sampling

FAULTS_UNTIL_S = 25.0
"""Afterwards nothing breaks any more, so that the run can end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How much goes wrong. Probabilities are per message or per task, counts per run."""

    drop: float = 0.0
    duplicate: float = 0.0
    slow: float = 0.0
    """Messages that take seconds, so that later ones overtake them."""
    engine_crashes: int = 0
    engine_freezes: int = 0
    engine_drains: int = 0
    give_back: float = 0.0
    """Leases returned for a reason of the engine."""
    load_failure: float = 0.0
    sloppy: float = 0.0
    """Samples sent although their weights, or their grader, are no longer the wanted ones."""
    rank_kills: int = 0
    """Deaths of the ranks at any moment."""
    rank_deaths: int = 0
    """Deaths of the ranks in the middle of a task."""
    rank_death: float = 0.0
    lost_checkpoint: bool = False
    """The newest checkpoint is unreadable once, when ranks look for it."""
    broadcaster_restarts: int = 0
    publish_failure: float = 0.0
    coordinator_crashes: int = 0
    coordinator_crash: float = 0.0
    """At each point between event, commit and effect."""
    coordinator_freezes: int = 0
    grader_swaps: int = 0
    poisoned_step: int = 0
    stop_at_s: float = 0.0

    @property
    def save_failure(self) -> float:
        """Checkpoints that cannot be written: as the network, so the disk."""
        return self.publish_failure / 3

    @property
    def is_skipped(self) -> bool:
        """Whether somebody starts the run again without its poisoned step."""
        return self.poisoned_step % 2 == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run."""

    seed: int
    config: CoreConfig
    is_reproducible: bool
    """Whether weights and samples are a function of what was executed."""
    is_grader_named: bool
    """Whether the reward service says its grader's version before it has graded.

    Where it does not, a group that its grader has left is told from others only by its failed attempts.
    """
    evaluation_sizes: tuple[int, ...]
    num_engines: int
    num_colocated: int = 0
    """Engines that share their GPUs with the ranks; the first ones. 0 where nothing is shared."""
    credit: int
    sample_s: float
    """Seconds that a sample takes, at most."""
    journal_s: float
    """Seconds that a batch takes to be written, at most."""
    bad_every: int
    """Every so many draws one sample breaks its environment; 0 never."""
    faults: Faults = field(default_factory=Faults)

    @property
    def is_comparable(self) -> bool:
        """Whether faults may not change what is trained."""
        faults = self.faults
        is_whole = not faults.stop_at_s and not faults.poisoned_step and not faults.grader_swaps
        return self.is_reproducible and self.config.max_staleness == 0 and is_whole

    def is_bad(self, draw: int) -> bool:
        """Whether the last sample of a draw cannot be had."""
        return self.bad_every > 0 and draw % self.bad_every == 1

    def undisturbed(self) -> "Plan":
        """The same run when nothing goes wrong but the data."""
        return replace(self, faults=Faults())


def plan_of(seed: int) -> Plan:
    """The plan of a seed, equal on every machine."""
    rng = random.Random(f"plan {seed}")
    is_reproducible = rng.random() < 0.5
    is_grader_named = rng.random() < 0.7
    plan = Plan(
        seed=seed,
        config=_config(rng, is_reproducible=is_reproducible, is_grader_named=is_grader_named),
        is_reproducible=is_reproducible,
        is_grader_named=is_grader_named,
        evaluation_sizes=tuple(rng.randint(1, 2) for _ in range(rng.choice((0, 1, 1, 2, 3)))),
        num_engines=rng.randint(1, 3),
        credit=rng.randint(1, 4),
        sample_s=rng.choice((1.0, 1.0, 3.0, 5.0)),
        journal_s=rng.choice((0.1, 0.1, 1.5)),
        bad_every=rng.choice((0, 0, 3, 5)),
        faults=_faults(rng),
    )
    plan = _with_other_weights_in_mid_lease(rng, plan) if rng.random() < 0.15 else plan
    plan = replace(plan, config=_with_sampling(random.Random(f"sampling {seed}"), plan.config))
    return _with_shared_gpus(random.Random(f"device {seed}"), plan)


def _with_other_weights_in_mid_lease(rng: random.Random, plan: Plan) -> Plan:
    """Ranks that come back with other weights while slow engines work: rare by chance, and where S = 0 is hard."""
    config = replace(plan.config, max_staleness=0, checkpoint_interval=rng.choice((-1, 4)), is_deterministic=False)
    faults = replace(plan.faults, rank_kills=4, rank_deaths=0, sloppy=0.8)
    return replace(plan, config=config, faults=faults, is_reproducible=False, sample_s=5.0, journal_s=3.0)


def _with_shared_gpus(rng: random.Random, plan: Plan) -> Plan:
    """Every fourth run has ranks and engines take turns; some of those have an engine with a GPU of its own as well."""
    if rng.random() < 0.75:
        return plan
    num_colocated = max(1, plan.num_engines - (rng.random() < 0.3))
    return replace(plan, num_colocated=num_colocated, config=replace(plan.config, max_staleness=0, is_colocated=True))


def _config(rng: random.Random, *, is_reproducible: bool, is_grader_named: bool) -> CoreConfig:
    group_size = rng.randint(1, 4)
    return CoreConfig(
        batch_size=rng.randint(2, 4),
        group_size=group_size,
        num_steps=rng.randint(3, 8),
        max_staleness=rng.choice((0, 0, 0, 1, 2)),
        min_group_size=rng.choice((0, 0, rng.randint(1, group_size))),
        checkpoint_interval=rng.choice((-1, 1, 2, 3, 4)),
        evaluation_interval=rng.choice((-1, -1, 1, 2, 3)),
        is_evaluated_first=rng.random() < 0.4,
        is_evaluated_last=rng.random() < 0.5,
        evaluation_timeout_s=20.0,
        progress_timeout_s=6.0,
        hard_timeout_s=20.0,
        liveness_s=3.0,
        stall_timeout_s=60.0,
        max_infra_attempts=60 if is_grader_named else 12,
        max_data_attempts=rng.randint(1, 3),
        max_publish_attempts=40,
        max_step_attempts=10,
        max_rank_losses=8,
        is_deterministic=is_reproducible,
    )


def _with_sampling(rng: random.Random, config: CoreConfig) -> CoreConfig:
    """Every third run chooses by rewards; some of those are so bounded that they may fail by it."""
    return replace(
        config,
        sampling=rng.choice((*[Sampling.KEEP] * 4, Sampling.FILTER, Sampling.REPLACE)),
        max_sample_batches=rng.choice((NO_LIMIT, 30, 30, 30, 2)),
        min_replace_ratio=rng.choice((0.3, 0.5, 0.75)),
    )


def _faults(rng: random.Random) -> Faults:
    if rng.random() < 0.05:
        return Faults()

    def some(low: int, high: int) -> int:
        return rng.randint(low, high) if rng.random() < 0.5 else 0

    def share(high: float) -> float:
        return rng.uniform(0.0, high) if rng.random() < 0.5 else 0.0

    return Faults(
        drop=share(0.2),
        duplicate=share(0.2),
        slow=share(0.1),
        engine_crashes=some(1, 4),
        engine_freezes=some(1, 3),
        engine_drains=some(1, 2),
        give_back=share(0.2),
        load_failure=share(0.3),
        sloppy=share(0.8),
        rank_kills=some(1, 3),
        rank_deaths=some(1, 4),
        rank_death=rng.uniform(0.05, 0.3),
        lost_checkpoint=rng.random() < 0.15,
        broadcaster_restarts=some(1, 3),
        publish_failure=share(0.3),
        coordinator_crashes=some(1, 4),
        coordinator_crash=rng.uniform(0.002, 0.02),
        coordinator_freezes=some(1, 2),
        grader_swaps=rng.randint(1, 3) if rng.random() < 0.25 else 0,
        poisoned_step=rng.randint(1, 4) if rng.random() < 0.01 else 0,
        stop_at_s=rng.uniform(0.5, 15.0) if rng.random() < 0.06 else 0.0,
    )
