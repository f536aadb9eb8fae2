"""Figures of a step: what was generated, how it was rewarded, where the time went."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tetrad_learner.coordinator.core.tables import DropReason
from tetrad_learner.coordinator.store import DrawnSample
from tetrad_trajectories.journal import JournalSample, Place
from tetrad_wire.messages.leases import FinishReason

REFUSED: Final = frozenset({DropReason.FILTERED.value, DropReason.REPLACED.value})
# Names that environments choose; those beyond are counted instead.
MAX_ENVIRONMENT_NAMES: Final = 64
Numbers = npt.NDArray[Any]


def batch_figures(order: Sequence[Place]) -> dict[str, float]:
    """Rewards and lengths of what a sealed batch trains on, copies counted, under SkyRL's names and the tutorial's."""
    samples = [place.sample for place in order]
    rewards = np.array([float(sample.reward_values.sum()) for sample in samples])
    lengths = np.array([int(sample.loss_mask.sum()) for sample in samples])
    ordinals = np.array([place.group for place in order])
    groups = [rewards[ordinals == ordinal] for ordinal in range(ordinals.max() + 1)]
    group_size = max(len(group) for group in groups)
    finished = np.array([sample.finish_reason is FinishReason.STOP for sample in samples])
    return {
        "train/mean_reward": float(rewards.mean()),
        "reward/avg_raw_reward": float(rewards.mean()),
        "reward/std_raw_reward": float(rewards.std()),
        "reward/mean_positive_reward": float(np.maximum(rewards, 0).mean()),
        f"reward/avg_pass_at_{group_size}": float(np.mean([bool((group > 0).any()) for group in groups])),
        "reward/zero_variance_groups": float(np.mean([group.min() == group.max() for group in groups])),
        "generate/avg_num_tokens": float(lengths.mean()),
        "generate/min_num_tokens": float(lengths.min()),
        "generate/max_num_tokens": float(lengths.max()),
        "generate/std_num_tokens": float(lengths.std()),
        "generate/truncated": float(1 - finished.mean()),
        **_mean_where("generate/avg_tokens_non_zero_rewards", lengths, rewards != 0),
        **_mean_where("generate/avg_tokens_zero_rewards", lengths, rewards == 0),
        **environment_figures(samples),
    }


def drawn_figures(drawn: Sequence[DrawnSample], *, batch_size: int) -> dict[str, float]:
    """Everything that was drawn for a step, trained on or not: what the policy does where training does not look.

    Long samples are more often too old, and samples of very easy and very hard prompts are filtered: the batch alone
    would not tell.
    """
    lengths = np.array([sample.num_tokens for sample in drawn])
    refused = {sample.draw for sample in drawn if sample.reason in REFUSED}
    taken = {sample.draw for sample in drawn if sample.is_trained}
    num_judged = len(refused) + len(taken)
    return {
        "reward/avg_drawn_reward": float(np.mean([sample.reward for sample in drawn])),
        "generate/drawn_avg_num_tokens": float(lengths.mean()),
        "generate/drawn_min_num_tokens": float(lengths.min()),
        "generate/drawn_max_num_tokens": float(lengths.max()),
        "generate/drawn_std_num_tokens": float(lengths.std()),
        "sampling/batches": num_judged / batch_size,
        "sampling/filtered": len(refused) / num_judged,
    }


def environment_figures(samples: Sequence[JournalSample]) -> dict[str, float]:
    """Means of what the environments measured, each over the samples that have it."""
    measured: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        for name, value in sample.metrics.items():
            measured[name].append(value)
    shown = sorted(measured)[:MAX_ENVIRONMENT_NAMES]
    means = {f"environment/{name}": float(np.mean(measured[name])) for name in shown}
    num_dropped = len(measured) - len(shown)
    return means | ({"environment/num_dropped_names": float(num_dropped)} if num_dropped else {})


def _mean_where(name: str, values: Numbers, where: npt.NDArray[np.bool_]) -> dict[str, float]:
    """No figure where there is no such sample: a mean of nothing is none."""
    return {name: float(values[where].mean())} if where.any() else {}


@dataclass(slots=True)
class Stopwatch:
    """Seconds between the marks of one step."""

    marks: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        """Note the moment; a repeated mark keeps the first."""
        self.marks.setdefault(name, time.monotonic())

    def between(self, begin: str, end: str) -> float:
        """Seconds from one mark to another; 0 where one is missing."""
        if begin not in self.marks or end not in self.marks:
            return 0.0
        return self.marks[end] - self.marks[begin]

    def phases(self) -> dict[str, float]:
        """Where the step's time went, in seconds: what it took of it while the former step was trained counts there."""
        return {
            "timing/generate": self._in_turn("wanted", "batched"),
            "timing/journal": self._in_turn("batched", "sealed"),
            "timing/train": self._in_turn("sealed", "executed"),
            "timing/publish": self._in_turn("executed", "published"),
            "timing/step": self.between("wanted", "published"),
        }

    def _in_turn(self, begin: str, end: str) -> float:
        """Seconds from one mark to another, as far as the former step was over by then.

        >>> watch = Stopwatch({"batched": 1.0, "sealed": 2.0, "wanted": 5.0, "executed": 9.0, "published": 10.0})
        >>> [seconds for name, seconds in watch.phases().items()]
        [0.0, 0.0, 4.0, 1.0, 5.0]
        """
        late = max(0.0, self.between(begin, "wanted"))
        return max(0.0, self.between(begin, end) - late)
