"""Scores of an evaluation round: collected sample by sample, reported once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tetrad_learner.coordinator.tasks import EvaluationTask

# Above this share of missing samples a score would mislead; none is reported.
MAX_MISSING_SHARE: Final = 0.05


@dataclass(slots=True)
class EvaluationRound:
    """Rewards of one round, by task and sample."""

    step: int
    tasks: Sequence[EvaluationTask]
    rewards: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, ordinal: int, index: int, reward: float) -> None:
        """Keep a sample's reward; a repeated one changes nothing."""
        self.rewards[ordinal].setdefault(index, reward)

    @property
    def num_evaluated(self) -> int:
        """Samples with a reward."""
        return sum(len(rewards) for rewards in self.rewards.values())

    @property
    def num_missing(self) -> int:
        """Samples without one."""
        return sum(task.num_samples for task in self.tasks) - self.num_evaluated

    def metrics(self, *, missing: int) -> dict[str, float]:
        """Scores by mode and dataset and over all, under SkyRL's names and the tutorial's."""
        metrics: dict[str, float] = {}
        for mode in dict.fromkeys(task.mode for task in self.tasks):
            names = dict.fromkeys(task.dataset for task in self.tasks)
            for name in [*names, "all"]:
                metrics |= self._scores(mode, name)
        total = sum(task.num_samples for task in self.tasks)
        if missing:
            metrics["eval/num_missing"] = float(missing)
        return metrics if missing <= MAX_MISSING_SHARE * total else {"eval/num_missing": float(missing)}

    def _scores(self, mode: str, name: str) -> dict[str, float]:
        chosen = [
            (task, list(self.rewards[ordinal].values()))
            for ordinal, task in enumerate(self.tasks)
            if task.mode == mode and name in (task.dataset, "all") and self.rewards[ordinal]
        ]
        if not chosen:
            return {}
        every = [reward for _task, rewards in chosen for reward in rewards]
        mean = sum(every) / len(every)
        num_samples = max(task.num_samples for task, _rewards in chosen)
        scores = {
            "avg_score": mean,
            "mean_reward": mean,
            "mean_positive_reward": sum(max(reward, 0.0) for reward in every) / len(every),
            "pass_at_1": sum(sum(r > 0 for r in rewards) / len(rewards) for _t, rewards in chosen) / len(chosen),
        }
        if num_samples > 1:
            scores[f"pass_at_{num_samples}"] = sum(any(r > 0 for r in rewards) for _t, rewards in chosen) / len(chosen)
        return {f"{mode}/{name}/{score}": value for score, value in scores.items()}
