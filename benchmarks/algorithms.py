"""Does each algorithm learn? The demo with one after the other, from the same model, and one picture of all curves.

Every run is `tetrad train +experiment=demo` with a few overrides: the same prompts, steps and learning rate but where
an algorithm needs others. Written to the results: greedy and sampled accuracy on held-out sums, before and after.
With --only the figures of the others stay as they are in the results file, whose commit and command are then of the
last run. Curves are kept in `benchmarks/curves`; the picture is drawn once there is one of every algorithm.

    python benchmarks/algorithms.py [--only rloo gae …] [--seed 42] [--picture docs/images/algorithms.png]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from results_file import RESULTS, ROOT, hardware_slug, write_results

RUN_TIMEOUT_S: Final = 600.0
SMOOTHING: Final = 5
"""Steps of the running mean in the picture."""
CURVES: Final = Path(__file__).parent / "curves"


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """One line in the picture."""

    name: str
    """As in the names of its metrics."""
    overrides: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as a metric's name begins."""
        return self.name.replace("+", "_plus").replace("-", "_")


_ALGORITHM: Final = "trainer.algorithm"
ALGORITHMS: Final = (
    Algorithm(name="grpo"),
    Algorithm(name="rloo", overrides=(f"{_ALGORITHM}.advantage_estimator=rloo",)),
    Algorithm(name="reinforce++", overrides=(f"{_ALGORITHM}.advantage_estimator=reinforce++",)),
    Algorithm(
        name="gae",
        overrides=(
            f"{_ALGORITHM}.advantage_estimator=gae",
            "trainer.critic.model.path=${trainer.policy.model.path}",
            "trainer.critic.optimizer_config.lr=1e-3",
            "trainer.critic_mini_batch_size=32",
        ),
    ),
    Algorithm(
        name="dr-grpo",
        overrides=(f"{_ALGORITHM}.grpo_norm_by_std=false", f"{_ALGORITHM}.loss_reduction=seq_mean_token_sum_norm"),
    ),
    Algorithm(
        name="gspo",
        overrides=(f"{_ALGORITHM}.policy_loss_type=gspo", f"{_ALGORITHM}.loss_reduction=sequence_mean"),
    ),
    Algorithm(name="cispo", overrides=(f"{_ALGORITHM}.policy_loss_type=cispo",)),
    Algorithm(
        name="lora",
        # Adapters want about ten times the learning rate of all weights.
        overrides=("trainer.policy.model.lora.rank=8", "trainer.policy.optimizer_config.lr=2e-3"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    algorithm: Algorithm
    summary: Mapping[str, Any]
    rewards: tuple[float, ...]
    """Mean reward of each step's samples."""


def main() -> None:
    """Run what was asked for; write results and picture."""
    names = [algorithm.name for algorithm in ALGORITHMS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "algorithms.png")
    arguments = parser.parse_args()
    chosen = [algorithm for algorithm in ALGORITHMS if algorithm.name in arguments.only]
    outcomes = [learn(algorithm, seed=arguments.seed) for algorithm in chosen]
    curves = keep_curves(outcomes, CURVES / f"algorithms-{hardware_slug()}.json")
    if without := [name for name in names if name not in curves]:
        print(f"{arguments.picture} is as it was: there is no curve of {', '.join(without)}")
    else:
        draw({name: curves[name] for name in names}, arguments.picture)
    figures = measured_before(RESULTS / f"algorithms-{hardware_slug()}.json") | dict(metrics(outcomes))
    print(write_results("algorithms", figures, packages=("torch", "transformers", "peft", "tetrad-learner")))


def learn(algorithm: Algorithm, *, seed: int) -> Outcome:
    """Run the demo with an algorithm, in a folder of its own; raise CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory(prefix="tetrad-bench-") as folder:
        command = [sys.executable, "-m", "tetrad_cli", "train", "+experiment=demo", f"trainer.seed={seed}"]
        with (Path(folder) / "train.log").open("w+b") as log:
            done = subprocess.run(
                [*command, *algorithm.overrides], cwd=folder, stdout=log, stderr=log, check=False, timeout=RUN_TIMEOUT_S
            )
            if done.returncode:
                log.seek(0)
                sys.exit(f"{algorithm.name} ended with code {done.returncode}:\n{log.read().decode()[-4000:]}")
        run = Path(folder) / "outputs" / "demo"
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        outcome = Outcome(algorithm=algorithm, summary=summary, rewards=tuple(rewards(run / "metrics.jsonl")))
    print(f"{algorithm.name}: {summary['accuracy_before']} → {summary['accuracy_after']}", flush=True)
    return outcome


def rewards(path: Path) -> Iterator[float]:
    """Yield the mean reward of each step."""
    for line in path.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)["metrics"]
        if "train/mean_reward" in found:
            yield found["train/mean_reward"]


def measured_before(path: Path) -> dict[str, float]:
    """Return the figures of a results file; none where there is no such file."""
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["metrics"] if path.exists() else {}
    return found


def keep_curves(outcomes: list[Outcome], path: Path) -> dict[str, Any]:
    """Put the curves beside those that are kept, in the place of older ones; return all, by the algorithm's name."""
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for outcome in outcomes:
        kept[outcome.algorithm.name] = {
            "sampled_after_correct_share": outcome.summary["accuracy_after"],
            "rewards": [round(reward, 4) for reward in outcome.rewards],
        }
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(curve)}" for name, curve in kept.items())
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    return kept


def metrics(outcomes: list[Outcome]) -> Iterator[tuple[str, float]]:
    """Yield what the results file holds."""
    for outcome in outcomes:
        slug = outcome.algorithm.slug
        yield f"{slug}_sampled_before_correct_share", outcome.summary["accuracy_before"]
        yield f"{slug}_sampled_after_correct_share", outcome.summary["accuracy_after"]
        yield f"{slug}_greedy_after_correct_share", outcome.summary["greedy_after"]
        yield f"{slug}_run_s", outcome.summary["seconds"]


def draw(curves: Mapping[str, Any], path: Path) -> None:
    """Draw the running mean of every run's reward."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, curve in curves.items():
        label = f"{name} ({curve['sampled_after_correct_share']:.2f})"
        axes.plot(list(running_mean(tuple(curve["rewards"]))), label=label, linewidth=1.2)
    axes.set(xlabel="training step", ylabel=f"mean reward (over {SMOOTHING} steps)", ylim=(0, 1))
    axes.set_title("Two-digit addition by algorithm (in brackets: sampled accuracy, held out)")
    axes.legend(loc="lower right", ncols=2, frameon=False)
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def running_mean(values: tuple[float, ...]) -> Iterator[float]:
    """Yield the mean of each value and those shortly before it.

    >>> list(running_mean((0.0, 1.0, 2.0)))
    [0.0, 0.5, 1.0]
    """
    for end in range(1, len(values) + 1):
        window = values[max(0, end - SMOOTHING) : end]
        yield sum(window) / len(window)


if __name__ == "__main__":
    main()
