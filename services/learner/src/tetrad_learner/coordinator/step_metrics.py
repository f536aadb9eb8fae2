"""What Prometheus sees of a training step: its figures, its batch and its clock.

Owns these metrics. Counters move when a step is reported, and then once, so that they agree with the logs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tetrad_telemetry.metrics import Metrics, closed
from tetrad_trajectories.journal import JournalSample, Place
from tetrad_wire.ids import PolicyVersion

PHASES: Final = ("generate", "journal", "train", "publish")
# Not parts of a step: a checkpoint is written, and an evaluation may run, beside the next ones.
BESIDE: Final = ("checkpoint", "evaluate")
PARTS: Final = (
    "old_logprobs",
    "reference_logprobs",
    "values",
    "critic_forward_backward",
    "critic_optimizer",
    "forward_backward",
    "optimizer",
)
LAG_BUCKETS: Final = (0, 1, 2, 4, 8, 16)
# Metric, figure of the logs that it shows, meaning.
GAUGES: Final = (
    ("step", "trainer/global_step", "Newest training step; unlike the counter it outlives a restart."),
    ("reward_mean", "train/mean_reward", "Mean reward of the newest step."),
    ("reward_std", "reward/std_raw_reward", "Standard deviation of the rewards of the newest step."),
    ("policy_loss", "train/policy_loss", "Policy loss of the newest step."),
    ("kl_loss", "train/kl_loss", "KL loss of the newest step."),
    ("entropy", "policy/policy_entropy", "Policy entropy of the newest step, in nats."),
    ("grad_norm", "policy/grad_norm", "Gradient norm of the newest step."),
    ("clip_ratio", "policy/loss_metrics/clip_ratio", "Share of tokens that the loss clipped in the newest step."),
    ("learning_rate", "policy/policy_lr", "Learning rate of the newest step."),
    (
        "logprob_difference_mean",
        "policy/rollout_train_logprobs_abs_diff_mean",
        "Mean of |learner's log-prob − engine's| over the tokens of the newest step.",
    ),
    (
        "logprob_difference_max",
        "policy/rollout_train_logprobs_abs_diff_max",
        "Greatest |learner's log-prob − engine's| of a token of the newest step.",
    ),
    ("mfu_ratio", "trainer/mfu", "Model FLOPs utilisation of rank 0 in the newest step; only of GPUs that we know."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """What a sealed batch is made of."""

    prompt_tokens: int
    response_tokens: int
    """Sampled by the policy."""
    observation_tokens: int
    """Said by the environment between turns."""
    used_groups: int
    flat_groups: int
    """Groups whose samples have one reward; they teach nothing."""
    lags: tuple[int, ...]
    """Steps by which the oldest weights of each sample are older than those that the step begins with."""


def count_batch(order: Sequence[Place], *, step: int, step_of: Callable[[PolicyVersion], int | None]) -> BatchCounts:
    """Count a batch, copies included; `step_of` says which training step made a version."""
    samples = [place.sample for place in order]
    prompts = sum(sample.prompt_length for sample in samples)
    sampled = sum(int(sample.loss_mask.sum()) for sample in samples)
    rewards: dict[int, set[float]] = {}
    for place in order:
        rewards.setdefault(place.group, set()).add(place.sample.reward)
    flat = sum(len(values) == 1 for values in rewards.values())
    made = (_oldest_step(sample, step_of) for sample in samples)
    return BatchCounts(
        prompt_tokens=prompts,
        response_tokens=sampled,
        observation_tokens=sum(len(sample.token_ids) for sample in samples) - prompts - sampled,
        used_groups=len(rewards) - flat,
        flat_groups=flat,
        lags=tuple(max(0, step - 1 - one) for one in made if one is not None),
    )


class StepMetrics:
    """Makes the metrics and moves them."""

    def __init__(self, metrics: Metrics) -> None:
        self._steps = metrics.counter("steps_total", "Training steps executed.")
        self._seconds = metrics.histogram("step_duration_seconds", "Wanted version to next published version.")
        self._reported_at = metrics.gauge("last_step_timestamp_seconds", "When the newest step was reported.")
        self._phases = metrics.histograms(
            "phase_duration_seconds",
            "Seconds of a step by phase; checkpoints and evaluations beside it.",
            labels={"phase": closed((*PHASES, *BESIDE))},
        )
        self._parts = metrics.histograms(
            "train_part_duration_seconds",
            "Seconds of rank 0 by part of the phase `train`.",
            labels={"part": closed(PARTS)},
        )
        self._gauges = {figure: metrics.gauge(name, about) for name, figure, about in GAUGES}
        self._tokens = metrics.counters(
            "tokens_total",
            "Tokens trained on; rows are packed, so there is no padding to count.",
            labels={"kind": closed(("prompt", "response", "observation"))},
        )
        self._groups = metrics.counters(
            "groups_total",
            "Groups trained on; `zero_variance` where all samples have one reward.",
            labels={"outcome": closed(("used", "zero_variance"))},
        )
        self._staleness = metrics.histogram(
            "sample_staleness_steps", "Steps by which a trained sample's oldest weights lag.", buckets=LAG_BUCKETS
        )

    def count(self, batch: BatchCounts) -> None:
        """Count what a reported step was trained on."""
        self._tokens.with_labels(kind="prompt").inc(batch.prompt_tokens)
        self._tokens.with_labels(kind="response").inc(batch.response_tokens)
        self._tokens.with_labels(kind="observation").inc(batch.observation_tokens)
        self._groups.with_labels(outcome="used").inc(batch.used_groups)
        self._groups.with_labels(outcome="zero_variance").inc(batch.flat_groups)
        for lag in batch.lags:
            self._staleness.observe(lag)

    def show(self, figures: Mapping[str, float], timings: Mapping[str, float]) -> None:
        """Show the figures of a reported step, and where its time went."""
        self._steps.inc()
        self._reported_at.set_to_current_time()
        self._seconds.observe(timings["timing/step"])
        for phase in PHASES:
            self._phases.with_labels(phase=phase).observe(timings[f"timing/{phase}"])
        for part in PARTS:
            if (name := f"timing/{part}") in figures:
                self._parts.with_labels(part=part).observe(figures[name])
        for name, gauge in self._gauges.items():
            if name in figures:
                gauge.set(figures[name])

    def beside(self, phase: str, *, seconds: float) -> None:
        """A checkpoint or an evaluation is done."""
        self._phases.with_labels(phase=phase).observe(seconds)


def _oldest_step(sample: JournalSample, step_of: Callable[[PolicyVersion], int | None]) -> int | None:
    steps = [made for span in sample.spans if (made := step_of(span.version)) is not None]
    return min(steps, default=None)
