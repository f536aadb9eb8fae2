"""Write `docs/reference/metrics.md` from the metrics that each service makes."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from make_protocol_reference import table
from reference_page import publish

from tetrad_broadcaster.metrics import BroadcasterMetrics
from tetrad_cli.launch.launcher_metrics import LauncherMetrics
from tetrad_cli.monitoring.roles import NAMES as MONITORING
from tetrad_config.section import OFF
from tetrad_learner.coordinator.loggers.guarded import Failures
from tetrad_learner.coordinator.memory_ledger import MemoryLedger
from tetrad_learner.coordinator.metric_names import NAMES
from tetrad_learner.coordinator.reporting import Reporting
from tetrad_learner.coordinator.reward_swaps import RewardSwapMetrics
from tetrad_learner.coordinator.sample_table import SampleTables
from tetrad_learner.coordinator.wait_watch import WaitMetrics
from tetrad_learner.host.metrics import HostMetrics
from tetrad_reward.metrics import RewardMetrics
from tetrad_rollout.metrics import RolloutMetrics
from tetrad_runtime.channels import ChannelMetrics
from tetrad_telemetry.labels import Closed, Label
from tetrad_telemetry.metrics import Metrics

HEAD: Final = """# Metrics

<!-- Made by tools/make_metrics_reference.py from the services; do not edit. -->

Every process serves `http://127.0.0.1:<metrics port>/metrics` as Prometheus text; `tetrad status` prints the ports, and
the launcher writes a target file for Prometheus into the run's folder. Names are `tetrad_<service>_<noun>_<unit>`;
units are seconds, bytes, tokens, ratio. Labels come from closed sets, or are capped at 64 values, after which new
ones are counted as `other`. Besides those below, each process has `tetrad_build_info` and the usual ones of the
Prometheus client (`process_*`, `python_*`); the launcher has no channels (`tetrad_zmq_*`); SGLang's own (`sglang:*`)
are on the page of its rollout. What they look like: [watch a run](../how-to/watch-a-run.md).
"""

LAUNCHED: Final = ("learner", "broadcaster", "reward", "rollout", *MONITORING)

ADDED: Final[Mapping[str, str]] = {
    "train/mean_reward": "mean reward of the step's samples; also `reward/avg_raw_reward`",
    "reward/std_raw_reward": "standard deviation of those rewards",
    "reward/mean_positive_reward": "the same with negative rewards as 0",
    "reward/avg_pass_at_N": "share of groups of N samples with a reward above 0",
    "reward/zero_variance_groups": "share of groups whose samples have one reward",
    "generate/avg_num_tokens": "tokens of a response; also `min`, `max` and `std`",
    "generate/avg_tokens_non_zero_rewards": "the same with a reward; `generate/avg_tokens_zero_rewards` without one",
    "generate/truncated": "share of samples that did not end by themselves",
    "environment/NAME": "mean of a metric of the environment; at most 64 names",
    "timing/PHASE": "seconds: `generate`, `journal`, `train`, `publish`, `step`",
    "trainer/global_step": "the training step; `trainer/epoch` counts from 0",
    "trainer/samples_per_second": "of the whole step; also `trainer/tokens_per_second`",
    "eval/DATASET/mean_reward": "of an evaluation, per dataset and `all`; also `avg_score`, which is the same, "
    "`mean_positive_reward`, `pass_at_1` and `pass_at_N`; `eval_sampled/…` at the sampling of training",
    "eval/num_missing": "evaluation samples that never came, where there are any",
}
"""What batches, clocks and evaluations add to the records."""

RENAMED: Final[Mapping[str, tuple[str, str]]] = {
    "GenAI conventions: duration and token usage of a judge's calls": (
        "`tetrad_reward_judge_duration_seconds`, `tetrad_reward_judge_tokens_total`",
        "`gen_ai_client_operation_duration_seconds` and `gen_ai_client_token_usage` are not final; a grader has one "
        "judge, so `reward_fn` stands for provider and model",
    ),
    "grades that failed by crash, invalid result, sandbox, judge": (
        "`tetrad_reward_failures_total`, reasons `timeout`, `crashed`, `refused`",
        "whose fault it was is seen by `reward_fn`; a grade's outcome is one of the protocol's",
    ),
    "pause, transfer, load, flush and resume of a weight update": (
        "`tetrad_rollout_weight_update_duration_seconds`, phases `stage`, `commit`, `prove`",
        "the transfer is staged while the engine serves; pause, load, flush and resume are one commit",
    ),
    "phases wait and eval of a step": (
        "`tetrad_learner_phase_duration_seconds`, phases `generate` and `evaluate`",
        "what is waited for has a metric of its own, `tetrad_learner_wait_seconds`",
    ),
    "sends that failed as unreachable or by timeout": (
        "`tetrad_zmq_send_failures_total`, reasons `gone` and `full`",
        "no send waits: where a peer takes nothing for long, its queue is full",
    ),
    "messages that failed to authenticate": (
        "`tetrad_zmq_refusals_total`",
        "they never come to be decoded; one reason for each way to be refused",
    ),
    "finish reason abort": ("`tetrad_rollout_samples_total`, `aborted`", "as the wire says it"),
    "transports ipc and zmq": (
        "`cuda_ipc` and `shared_memory`; `socket`",
        "handles of a GPU and memory of a host are two ways",
    ),
    "engines that are lost": (
        "`tetrad_broadcast_subscribers`, state `quarantined`",
        "who has left is no subscriber; `tetrad_supervisor_instances` counts who should be there",
    ),
    "memory of CUDA": ("`tetrad_learner_memory_bytes`", "the same name where there is no GPU: then it is the host's"),
    "staleness in versions": ("`tetrad_learner_sample_staleness_steps`", "a version may be minted twice for one step"),
    "padding tokens": ("–", "rows are packed: there is none"),
    "groups that are stale, filtered, incomplete": ("`tetrad_learner_groups_dropped_total`", "one reason each"),
    "duplicate and invalid samples": ("`tetrad_learner_samples_total`", "counted sample by sample"),
    "old log-probs, forward and backward, optimizer": (
        "`tetrad_learner_train_part_duration_seconds`",
        "parts of the phase `train`, so that phases add up to a step",
    ),
    "send and acknowledge of a broadcast": (
        "`tetrad_broadcast_duration_seconds`, phase `read`",
        "engines read; who reads says when it has finished",
    ),
    "tokens per second": ("`rate(tetrad_rollout_generated_tokens_total[1m])`", "rates are made by whoever asks"),
    "latency of the first and of each token": ("`sglang:time_to_first_token_seconds` and others", "SGLang's own"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One metric."""

    name: str
    kind: str
    labels: Mapping[str, Label]
    about: str


class RecordingMetrics(Metrics):
    """Makes metrics as any service does, and keeps a list of them."""

    def __init__(self, service: str, *, scope: str | None = None) -> None:
        self.rows: list[Row] = []
        super().__init__(service, version="0", scope=scope)

    def counter(self, noun: str, documentation: str, **options: Any) -> Any:
        """Record and make."""
        return self._recorded(super().counter, noun, documentation, options)

    def gauge(self, noun: str, documentation: str, **options: Any) -> Any:
        """Record and make."""
        return self._recorded(super().gauge, noun, documentation, options)

    def histogram(self, noun: str, documentation: str, **options: Any) -> Any:
        """Record and make."""
        return self._recorded(super().histogram, noun, documentation, options)

    def counters(self, noun: str, documentation: str, **options: Any) -> Any:
        """Record and make."""
        return self._recorded(super().counters, noun, documentation, options)

    def gauges(self, noun: str, documentation: str, **options: Any) -> Any:
        """Record and make."""
        return self._recorded(super().gauges, noun, documentation, options)

    def histograms(self, noun: str, documentation: str, **options: Any) -> Any:
        """Record and make."""
        return self._recorded(super().histograms, noun, documentation, options)

    def _recorded(self, make: Callable[..., Any], noun: str, documentation: str, options: dict[str, Any]) -> Any:
        made = make(noun, documentation, **options)
        metric = getattr(made, "metric", made)
        suffix = "_total" if metric._type == "counter" else ""
        self.rows.append(Row(f"{metric._name}{suffix}", metric._type, options.get("labels", {}), documentation))
        return made


def main() -> int:
    """Write the page, or return 1 if it would change."""
    return publish("metrics.md", render(), maker="tools/make_metrics_reference.py")


def render() -> str:
    """The page."""
    services = recorded()
    every = RecordingMetrics("none")
    ChannelMetrics(every)
    shared = [row.name for row in every.rows]
    parts = [HEAD, "## Every service\n\n" + _table(every.rows)]
    parts += [
        f"## {service}\n\n" + _table([row for row in rows if row.name not in shared])
        for service, rows in services.items()
    ]
    return "\n".join(part.rstrip() + "\n" for part in (*parts, _renamed(), _step_figures()))


def recorded() -> dict[str, list[Row]]:
    """Every metric by service."""
    learner, rollout, reward = RecordingMetrics("learner"), RecordingMetrics("rollout"), RecordingMetrics("reward")
    host = RecordingMetrics("host")
    broadcaster = RecordingMetrics("broadcaster", scope="broadcast")
    launcher = RecordingMetrics("launcher", scope="supervisor")
    LauncherMetrics(LAUNCHED, launcher)
    Reporting(learner, [], samples_per_step=1, steps_per_epoch=1, tables=SampleTables(interval=OFF))
    Failures(learner)
    MemoryLedger(learner)
    RewardSwapMetrics(learner)
    WaitMetrics(learner)
    RolloutMetrics(rollout)
    RewardMetrics(reward)
    BroadcasterMetrics(broadcaster)
    HostMetrics(host)
    return {one.service: one.rows for one in (learner, rollout, reward, broadcaster, host, launcher)}


def _table(rows: Sequence[Row]) -> str:
    cells = ((f"`{row.name}`", row.kind, _labels(row.labels), row.about) for row in rows)
    return table(("metric", "kind", "labels", "meaning"), cells)


def _labels(labels: Mapping[str, Label]) -> str:
    def text(name: str, label: Label) -> str:
        if isinstance(label, Closed):
            return f"`{name}`: {', '.join(label.values)}"
        return f"`{name}`: names, at most {label.limit}"

    return "; ".join(text(name, label) for name, label in labels.items())


def _renamed() -> str:
    rows = ((sought, found, why) for sought, (found, why) in RENAMED.items())
    return "## What you may look for under another name\n\n" + table(("elsewhere", "here", "why"), rows)


def _step_figures() -> str:
    rows = ((", ".join(f"`{name}`" for name in names), f"`{source}`") for source, names in NAMES.items())
    about = (
        "Every logger (`metrics.jsonl`, console, TensorBoard, W&B, MLflow, trackio) gets one record per training step "
        "and one per evaluation. Names are SkyRL's, the tutorial's before them where it has others. What the ranks "
        "report stands there as:"
    )
    others = "What the coordinator adds:"
    reported = table(("name in the logs", "reported by rank 0 as"), rows)
    added = table(("name in the logs", "meaning"), ((f"`{name}`", about) for name, about in ADDED.items()))
    return f"## Figures of a step\n\n{about}\n\n{reported}\n\n{others}\n\n{added}"


if __name__ == "__main__":
    sys.exit(main())
