"""What a run's own files say of it: metrics.jsonl, the dumped answers, summary.json. Pure but for reading them."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tetrad_reward.extraction import Mode, extract

GIB: Final = 2**30
EDGE: Final = 5
"""Steps at each end of a run over which a reward is averaged."""
PHASE: Final = "timing/"
Records = Sequence[tuple[int, Mapping[str, float]]]


def read_records(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Step and metrics of each whole line; the last one may still be on its way."""
    if not path.exists():
        return []
    text, found = path.read_text(encoding="utf-8"), []
    for line in text[: text.rfind("\n") + 1].splitlines():
        record = json.loads(line)
        found.append((record["step"], record["metrics"]))
    return found


def step_figures(records: Records) -> dict[str, float]:
    """Time of a step by phase, the first step left out where there are more; rewards at both ends, tokens.

    >>> found = step_figures([(n, {"timing/step": s, "train/mean_reward": 0.5}) for n, s in ((1, 9.0), (2, 2.0))])
    >>> found["step_p50_seconds"], found["first_step_seconds"], found["trained_steps"]
    (2.0, 9.0, 2)
    """
    steps = [metrics for _step, metrics in records if f"{PHASE}step" in metrics]
    if not steps:
        return {}
    counted = steps[1:] or steps
    names = sorted({name for metrics in counted for name in metrics if name.startswith(PHASE)})
    figures: dict[str, float] = {"trained_steps": len(steps), "first_step_seconds": steps[0][f"{PHASE}step"]}
    for name in names:
        seconds = [metrics[name] for metrics in counted if name in metrics]
        figures[f"{name.removeprefix(PHASE).replace('/', '_')}_p50_seconds"] = statistics.median(seconds)
    figures |= _ends("reward", steps, "train/mean_reward")
    figures |= _ends("sampled", steps, "generate/avg_num_tokens", unit="tokens")
    figures |= _middle(counted, "policy/rollout_train_logprobs_abs_diff_mean", "logprob_difference_p50_nats")
    figures |= _middle(counted, "trainer/tokens_per_second", "tokens_per_second_step")
    return figures


def score_figures(records: Records) -> dict[str, float]:
    """Accuracy by each rule at the first and at the last evaluation."""
    rounds = [(step, metrics) for step, metrics in records if "eval/all/mean_reward" in metrics]
    if not rounds:
        return {}
    figures: dict[str, float] = {"evaluated_last_steps": rounds[-1][0]}
    for mode in Mode:
        name = f"eval/all/mean_reward_{mode}"
        for when, (_step, metrics) in (("before", rounds[0]), ("after", rounds[-1])):
            if name in metrics:
                figures[f"{mode}_{when}_correct_share"] = metrics[name]
    return figures


def answer_figures(dumped: Path) -> dict[str, float]:
    """Share of answers in the format that the prompt asks for, at the first and at the last evaluation."""
    rounds = sorted(dumped.glob("global_step_*_evals"), key=lambda path: int(path.name.split("_")[2]))
    figures: dict[str, float] = {}
    for when, folder in (("before", rounds[0]), ("after", rounds[-1])) if rounds else ():
        rows = [
            json.loads(line)
            for path in folder.glob("*.jsonl")
            if path.name != "aggregated_results.jsonl"
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        if rows:
            formatted = [extract(row["output_response"], mode=Mode.STRICT).value is not None for row in rows]
            figures[f"format_{when}_share"] = statistics.mean(formatted)
            figures["evaluation_samples"] = len(rows)
    return figures


def memory_figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """The device memory that each process held at most in each phase, where learner and engine took turns.

    >>> memory_figures({"device_phases": {"train": {"bytes": {"rollout-0": {"before": 0, "after": 0, "most": 2**31}}}}})
    {'memory_train_rollout_0_gib': 2.0}
    """
    phases: Mapping[str, Any] = summary.get("device_phases", {})
    return {
        f"memory_{phase}_{process.replace('-', '_')}_gib": held["most"] / GIB
        for phase, row in phases.items()
        for process, held in row["bytes"].items()
    }


def _ends(label: str, steps: Sequence[Mapping[str, float]], name: str, *, unit: str = "share") -> dict[str, float]:
    values = [metrics[name] for metrics in steps if name in metrics]
    if not values:
        return {}
    first, last = statistics.mean(values[:EDGE]), statistics.mean(values[-EDGE:])
    return {f"{label}_first_steps_{unit}": first, f"{label}_last_steps_{unit}": last}


def _middle(steps: Sequence[Mapping[str, float]], name: str, label: str) -> dict[str, float]:
    values = [metrics[name] for metrics in steps if name in metrics]
    return {label: statistics.median(values)} if values else {}
