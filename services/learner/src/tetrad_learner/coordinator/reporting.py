"""Everything the coordinator tells people: loggers, Prometheus metrics, the summary."""

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tetrad_learner.coordinator.core.tables import DropReason
from tetrad_learner.coordinator.evaluation import EvaluationRound
from tetrad_learner.coordinator.figures import Stopwatch
from tetrad_learner.coordinator.loggers.logger import MetricLogger
from tetrad_learner.coordinator.metric_names import logged_names
from tetrad_learner.coordinator.sample_table import SampleTables
from tetrad_learner.coordinator.step_metrics import BatchCounts, StepMetrics
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.metrics import Capped, Metrics, closed

log = get_logger(__name__)

# Shown first in the console's line.
LEADING: Sequence[str] = ("train/policy_loss", "train/kl_loss", "train/mean_reward")

EVALUATED: Final = re.compile(r"eval/(?P<dataset>[^/]+)/mean_reward")


class Reporting:
    """Collects the figures of each step from all sides and writes them once."""

    def __init__(
        self,
        metrics: Metrics,
        loggers: Sequence[MetricLogger],
        *,
        samples_per_step: int,
        steps_per_epoch: int,
        tables: SampleTables,
        logged_step: int = 0,
        logged_rounds: Iterable[int] = (),
        checkpoint_step: int = 0,
    ) -> None:
        self._loggers = loggers
        self._samples_per_step, self._steps_per_epoch = samples_per_step, max(1, steps_per_epoch)
        self._figures: dict[int, dict[str, float]] = {}
        self._batches: dict[int, BatchCounts] = {}
        self.tables = tables
        """Of samples of steps that are not reported yet."""
        self.logged_step = logged_step
        """Steps up to here are in the logs already; a replay does not repeat them."""
        self.logged_rounds = set(logged_rounds)
        """Evaluations in the logs already: one that is done again after a crash is not logged again."""
        self.num_samples = 0
        """Samples of the steps that this process has reported; a run that goes on has more."""
        self.num_evaluated = 0
        self.evaluations: dict[int, dict[str, float]] = {}
        self.steps = StepMetrics(metrics)
        self.version = metrics.gauge("weight_version", "Policy version that engines should run.")
        self.eval_score = metrics.gauges(
            "eval_score",
            "Mean reward of the newest evaluation: of a dataset, or of `all`.",
            labels={"dataset": Capped()},
        )
        self.checkpoint_time = metrics.gauge("last_checkpoint_timestamp_seconds", "When a checkpoint was completed.")
        self.checkpoint_step = metrics.gauge("last_checkpoint_step", "Step of the checkpoint that was completed last.")
        # Of a run that goes on: else it would seem never to have written one.
        self.checkpoint_step.set(checkpoint_step)
        self.checkpoint_interval = metrics.gauge(
            "checkpoint_interval_steps", "Steps from one checkpoint to the next; 0 where none is asked for."
        )
        self.checkpoints_failed = metrics.counter("checkpoints_failed_total", "Checkpoints that could not be written.")
        self.samples = metrics.counters(
            "samples_total",
            "Samples received, by what became of them.",
            labels={"outcome": closed(("accepted", "duplicate", "refused", "forged"))},
        )
        self.drops = metrics.counters(
            "groups_dropped_total",
            "Groups dropped, by reason.",
            labels={"reason": closed(tuple(reason.value for reason in DropReason))},
        )
        self.open_groups = metrics.gauge("prompt_queue_groups", "Training groups running or waiting.")
        self.leases = metrics.gauge("leases", "Leases held by engines.")
        self.commits = metrics.counter("ledger_commits_total", "Transactions of the ledger.")
        self.ranks_lost = metrics.counter("ranks_lost_total", "Sets of ranks that died.")

    def note(self, step: int, figures: Mapping[str, float]) -> None:
        """Keep figures of a step until it is reported."""
        self._figures.setdefault(step, {}).update(figures)

    def note_batch(self, step: int, batch: BatchCounts) -> None:
        """Keep what a step trains on until it is reported."""
        self._batches[step] = batch

    def note_drops(self, reasons: Iterable[DropReason]) -> None:
        """Count groups that have been dropped."""
        for reason in reasons:
            self.drops.with_labels(reason=reason.value).inc()

    def note_rank(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep what rank 0 reported of a step, under the names of the logs."""
        named = {alias: value for name, value in metrics.items() for alias in logged_names(name)}
        self.note(step, named)

    def report_step(self, step: int, watch: Stopwatch) -> None:
        """Write the figures of a step whose new weights are out."""
        figures, rows, batch = self._figures.pop(step, {}), self.tables.take(step), self._batches.pop(step, None)
        # What was replayed on the way to this step is in the logs already.
        self._figures = {later: kept for later, kept in self._figures.items() if later > step}
        self._batches = {later: kept for later, kept in self._batches.items() if later > step}
        if step <= self.logged_step or not figures:
            return
        self.logged_step = step
        self.num_samples += self._samples_per_step
        timings = watch.phases()
        seconds = max(timings["timing/step"], 1e-9)
        tokens = figures.get("generate/avg_num_tokens", 0.0) * self._samples_per_step
        rates = {
            "trainer/global_step": float(step),
            "trainer/epoch": float((step - 1) // self._steps_per_epoch),
            "trainer/samples_per_second": self._samples_per_step / seconds,
            "trainer/tokens_per_second": tokens / seconds,
        }
        head = {name: figures.pop(name) for name in LEADING if name in figures}
        self._write(step, head | figures | timings | rates)
        if rows:
            for logger in self._loggers:
                logger.log_samples(step, rows)
        self.steps.show(head | figures | rates, timings)
        if batch is not None:
            self.steps.count(batch)

    def report_evaluation(self, round_: EvaluationRound, *, missing: int) -> Mapping[str, float]:
        """Write the scores of a round and return them."""
        scores = round_.metrics(missing=missing)
        self.num_evaluated += round_.num_evaluated
        self.evaluations[round_.step] = scores
        for name, score in scores.items():
            if (found := EVALUATED.fullmatch(name)) is not None:
                self.eval_score.with_labels(dataset=found["dataset"]).set(score)
        self.steps.beside("evaluate", seconds=round_.age_s)
        if missing:
            log.warning("evaluation_incomplete", step=round_.step, missing=missing)
        if round_.step not in self.logged_rounds:
            self.logged_rounds.add(round_.step)
            self._write(round_.step, scores)
        return scores

    def close(self) -> None:
        """Flush every logger, all at once: each may wait for a server. Blocks: use a thread."""
        if self._loggers:
            with ThreadPoolExecutor(len(self._loggers), "closing") as closing:
                list(closing.map(lambda logger: logger.close(), self._loggers))

    def _write(self, step: int, metrics: Mapping[str, float]) -> None:
        for logger in self._loggers:
            logger.log(step, metrics)


def process_started_at() -> float:
    """When this process began, in seconds since the epoch."""
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    return float(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def seconds_since_start() -> float:
    """Age of this process."""
    return time.time() - process_started_at()
