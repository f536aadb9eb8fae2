"""What remains of a run: summary.json and the picture of its curve."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tetrad_trajectories.atomic import written_atomically

WINDOW: Final = 10


def read_records(path: Path) -> Iterator[tuple[int, Mapping[str, float]]]:
    """Step and metrics of each line of metrics.jsonl; none where there is no file yet."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        yield record["step"], record["metrics"]


def write_summary(path: Path, summary: Mapping[str, object]) -> None:
    """Write summary.json, whole or not at all."""
    with written_atomically(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n")


def draw_curve(records: list[tuple[int, Mapping[str, float]]], path: Path, *, title: str) -> None:
    """Draw mean reward over steps, its running mean, and the evaluations; PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=120)
    steps, rewards = _series(records, "train/mean_reward")
    axes.plot(steps, rewards, color="#9ecae1", linewidth=1, label="mean reward of a step")
    axes.plot(steps, _running_mean(rewards), color="#08519c", linewidth=2, label=f"mean of {WINDOW} steps")
    for name, label, marker in (
        ("eval/all/mean_reward", "held out, greedy", "o"),
        ("eval_sampled/all/mean_reward", "held out, sampled", "s"),
    ):
        eval_steps, scores = _series(records, name)
        if scores:
            axes.plot(eval_steps, scores, marker, markersize=8, label=label)
    axes.set(xlabel="training step", ylabel="reward", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _series(records: list[tuple[int, Mapping[str, float]]], name: str) -> tuple[list[int], list[float]]:
    points = [(step, metrics[name]) for step, metrics in records if name in metrics]
    return [step for step, _value in points], [value for _step, value in points]


def _running_mean(values: list[float]) -> list[float]:
    return [sum(values[max(0, i - WINDOW + 1) : i + 1]) / min(i + 1, WINDOW) for i in range(len(values))]
