"""Scores of an evaluation round: collected sample by sample, reported once."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Final

from tetrad_learner.coordinator.pass_at_k import pass_at_k, reported_ks
from tetrad_learner.coordinator.tasks import EvaluationTask

# Above this share of missing samples a score would mislead; none is reported.
MAX_MISSING_SHARE: Final = 0.05
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sample was given."""

    reward: float
    scores: Mapping[str, float] = field(default_factory=dict)
    """What other rules would have paid, by name."""


@dataclass(slots=True)
class EvaluationRound:
    """Verdicts of one round, by task and sample."""

    step: int
    tasks: Sequence[EvaluationTask]
    verdicts: dict[int, dict[int, Verdict]] = field(default_factory=lambda: defaultdict(dict))
    began: float = field(default_factory=time.monotonic)

    def add(self, ordinal: int, index: int, verdict: Verdict) -> None:
        """Keep a sample's verdict; a repeated one changes nothing."""
        self.verdicts[ordinal].setdefault(index, verdict)

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @property
    def num_evaluated(self) -> int:
        """Samples with a reward."""
        return sum(len(verdicts) for verdicts in self.verdicts.values())

    @property
    def num_missing(self) -> int:
        """Samples without one."""
        return sum(task.num_samples for task in self.tasks) - self.num_evaluated

    def metrics(self, *, missing: int) -> dict[str, float]:
        """Scores by mode and dataset and over all, under SkyRL's names and the tutorial's."""
        metrics: dict[str, float] = {}
        for mode in dict.fromkeys(task.mode for task in self.tasks):
            names = dict.fromkeys(task.dataset for task in self.tasks)
            for name in [*names, ALL]:
                metrics |= {f"{mode}/{name}/{score}": value for score, value in self._scores(mode, name)}
        total = sum(task.num_samples for task in self.tasks)
        if missing:
            metrics["eval/num_missing"] = float(missing)
        return metrics if missing <= MAX_MISSING_SHARE * total else {"eval/num_missing": float(missing)}

    def _scores(self, mode: str, name: str) -> Iterator[tuple[str, float]]:
        """Means over samples, pass@k over prompts."""
        chosen = [
            (task, list(self.verdicts[ordinal].values()))
            for ordinal, task in enumerate(self.tasks)
            if task.mode == mode and name in (task.dataset, ALL) and self.verdicts[ordinal]
        ]
        if not chosen:
            return
        every = [verdict for _task, verdicts in chosen for verdict in verdicts]
        mean = _mean([verdict.reward for verdict in every])
        yield "avg_score", mean
        yield "mean_reward", mean
        yield "mean_positive_reward", _mean([max(verdict.reward, 0.0) for verdict in every])
        for score in _shared(every):
            yield f"mean_reward_{score}", _mean([verdict.scores[score] for verdict in every])
        for k in reported_ks(max(task.num_samples for task, _verdicts in chosen)):
            yield f"pass_at_{k}", _mean([_pass_at(k, verdicts) for _task, verdicts in chosen])


def _mean(values: Sequence[float]) -> float:
    # Rounded once, so that the order in which samples arrive has no say in the last bit.
    return fsum(values) / len(values)


def _pass_at(k: int, verdicts: Sequence[Verdict]) -> float:
    return pass_at_k(len(verdicts), sum(verdict.reward > 0 for verdict in verdicts), k)


def _shared(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the extra scores that every sample has: a mean over some would be read as one over all."""
    first, *others = verdicts
    return [name for name in first.scores if all(name in verdict.scores for verdict in others)]
