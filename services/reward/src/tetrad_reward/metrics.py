"""The numbers of a reward replica, as Prometheus sees them.

Owns the metric objects. Fresh answers are observed one by one; states are read when a page is asked for.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean, pstdev
from typing import Final

from tetrad_reward.judge_use import JudgeUse, use_in
from tetrad_reward.workers import WorkersStatistics
from tetrad_runtime.channels import ChannelMetrics
from tetrad_telemetry.labels import Capped, closed
from tetrad_telemetry.metrics import Metrics
from tetrad_transport.statistics import ChannelStatistics
from tetrad_wire.messages.episodes import EpisodeStepped, GradeOutcome

# Bounds are never negative: a negative one makes the client drop the sum. Signed rewards show in the gauges.
SCORE_BUCKETS: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
# Rewards per grader that mean and deviation are taken of.
RECENT: Final = 256
MAX_SCORE_NAMES: Final = 64
WORKER_STATES: Final = ("busy", "idle", "spare", "starting")
OUTCOMES: Final = ("scored", "failed")
FAILURES: Final = tuple(outcome.value for outcome in GradeOutcome if outcome is not GradeOutcome.OK)
NO_RULE: Final = "none"
JUDGE_TOKENS: Final = ("input", "output")


class RewardMetrics:
    """Make one per process, in main."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        reward_fn = Capped(64)
        per_grader = {"reward_fn": reward_fn}
        self._samples = metrics.counters(
            "samples_total", "Turns graded.", labels={**per_grader, "outcome": closed(OUTCOMES)}
        )
        self._failures = metrics.counters(
            "failures_total", "Turns without a reward.", labels={**per_grader, "reason": closed(FAILURES)}
        )
        self._score = metrics.histograms("score", "Rewards.", labels=per_grader, buckets=SCORE_BUCKETS)
        self._mean = metrics.gauges("batch_mean", f"Mean of the last {RECENT} rewards.", labels=per_grader)
        self._std = metrics.gauges("batch_std", f"Deviation of the last {RECENT} rewards.", labels=per_grader)
        self._duration = metrics.histograms("duration_seconds", "Time of one grade in its worker.", labels=per_grader)
        self._extractions = metrics.counters(
            "extractions_total", "How answers were found.", labels={**per_grader, "result": Capped(16)}
        )
        self._disagreements = metrics.counters(
            "extractor_disagreements_total",
            "Responses that the modes of an extractor judge differently.",
            labels=per_grader,
        )
        self._components = metrics.gauges(
            "component_mean",
            f"Mean of the last {RECENT} of each component of a weighted sum, and of each extra score.",
            labels={**per_grader, "component": Capped(64)},
        )
        self._judge_seconds = metrics.histograms(
            "judge_duration_seconds", "From asking a judge to its verdict, where one was asked.", labels=per_grader
        )
        self._judge_calls = metrics.counters("judge_calls_total", "Replies of judges.", labels=per_grader)
        self._judge_tokens = metrics.counters(
            "judge_tokens_total",
            "Tokens of those calls, by the judge's own count.",
            labels={**per_grader, "kind": closed(JUDGE_TOKENS)},
        )
        self._queued = metrics.gauge("queued_samples", "Turns and openings that wait for a worker.")
        self._episodes = metrics.gauge("episodes", "Episodes held.")
        self._workers = metrics.gauges("workers", "Worker processes.", labels={"state": closed(WORKER_STATES)})
        self._deaths = metrics.counter("worker_deaths_total", "Worker processes that were killed or died.")
        self._channels = ChannelMetrics(metrics)
        self._recent: dict[str, deque[float]] = {}
        self._recent_scores: dict[tuple[str, str], deque[float]] = {}
        self._seen_deaths = 0

    def observe(self, grader_version: str, answer: EpisodeStepped) -> None:
        """Count one fresh answer of a grader, under its name."""
        reward_fn = grader_version.rpartition("-")[0]
        if reward_fn not in self._recent:
            self._begin(reward_fn)
        if answer.reward is None:
            self._samples.with_labels(reward_fn=reward_fn, outcome="failed").inc()
            self._failures.with_labels(reward_fn=reward_fn, reason=answer.outcome.value).inc()
            return
        self._samples.with_labels(reward_fn=reward_fn, outcome="scored").inc()
        self._score.with_labels(reward_fn=reward_fn).observe(answer.reward)
        self._duration.with_labels(reward_fn=reward_fn).observe(answer.duration_s)
        self._recent[reward_fn].append(answer.reward)
        self._observe_scores(reward_fn, answer.scores)
        self._observe_judge(reward_fn, use_in(answer.metrics))
        is_judged_by_many = "extractor_disagreement" in answer.metrics
        if is_judged_by_many or answer.rule is not None:
            self._extractions.with_labels(reward_fn=reward_fn, result=answer.rule or NO_RULE).inc()
        if is_judged_by_many:
            self._disagreements.with_labels(reward_fn=reward_fn).inc(answer.metrics["extractor_disagreement"])

    def _begin(self, reward_fn: str) -> None:
        """Make the series of a new grader, so that a rate exists before its first failure."""
        self._recent[reward_fn] = deque(maxlen=RECENT)
        for outcome in OUTCOMES:
            self._samples.with_labels(reward_fn=reward_fn, outcome=outcome)
        for reason in FAILURES:
            self._failures.with_labels(reward_fn=reward_fn, reason=reason)

    def _observe_scores(self, reward_fn: str, scores: Mapping[str, float]) -> None:
        for name, score in scores.items():
            key = (reward_fn, name)
            # Names come from graders: beyond this many the label says no more which they are.
            if key in self._recent_scores or len(self._recent_scores) < MAX_SCORE_NAMES:
                self._recent_scores.setdefault(key, deque(maxlen=RECENT)).append(score)

    def _observe_judge(self, reward_fn: str, use: JudgeUse) -> None:
        if use.calls == 0:
            return
        self._judge_seconds.with_labels(reward_fn=reward_fn).observe(use.seconds)
        self._judge_calls.with_labels(reward_fn=reward_fn).inc(use.calls)
        self._judge_tokens.with_labels(reward_fn=reward_fn, kind="input").inc(use.input_tokens)
        self._judge_tokens.with_labels(reward_fn=reward_fn, kind="output").inc(use.output_tokens)

    def page(self, *, workers: WorkersStatistics, episodes: int, queued: int, channel: ChannelStatistics) -> bytes:
        """Return the /metrics page with the states of this moment."""
        counts = asdict(workers)
        for state in WORKER_STATES:
            self._workers.with_labels(state=state).set(counts[state])
        self._episodes.set(episodes)
        self._queued.set(queued)
        self._deaths.inc(workers.deaths - self._seen_deaths)
        self._seen_deaths = workers.deaths
        self._channels.update("reward", channel)
        for reward_fn, rewards in self._recent.items():
            if not rewards:
                continue
            self._mean.with_labels(reward_fn=reward_fn).set(fmean(rewards))
            self._std.with_labels(reward_fn=reward_fn).set(pstdev(rewards))
        for (reward_fn, component), scores in self._recent_scores.items():
            self._components.with_labels(reward_fn=reward_fn, component=component).set(fmean(scores))
        return self._metrics.render()

    def set_ready(self, *, is_ready: bool) -> None:
        """Mirror /readyz."""
        self._metrics.service_ready.set(is_ready)
