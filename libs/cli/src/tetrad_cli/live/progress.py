"""What the records of a run amount to: how far it is, how well it does, where its time goes.

Pure: records go in, numbers come out.
"""

from dataclasses import dataclass, field
from typing import Final

from tetrad_cli.live.record import Record

REWARD: Final = "train/mean_reward"
GREEDY: Final = "eval/all/pass_at_1"
SAMPLED: Final = "eval_sampled/all/mean_reward"
TOKENS_PER_S: Final = "trainer/tokens_per_second"
TOTAL_STEPS: Final = "trainer/total_steps"
TIMING_PREFIX: Final = "timing/"
# These hold others; shown beside them they would count time twice.
WHOLES: Final = frozenset({"timing/step", "timing/total"})


@dataclass(slots=True)
class Progress:
    """A run so far."""

    total_steps: int | None = None
    """Where it ends; None while nobody knows."""
    step: int = 0
    began_at: float = 0.0
    """Unix time of the launch."""
    elapsed_s: float = 0.0
    """From the launch to the last record."""
    tokens_per_s: float = 0.0
    rewards: list[float] = field(default_factory=list)
    """Mean reward of each step, oldest first."""
    evaluations: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: {GREEDY: [], SAMPLED: []})
    """Metric → (step, score) of each evaluation."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Phase → seconds spent in it, over all steps."""

    def add(self, record: Record) -> None:
        """Take in one record."""
        metrics = record.metrics
        self.step = max(self.step, record.step)
        self.elapsed_s = max(self.elapsed_s, record.time_s - self.began_at)
        self.tokens_per_s = metrics.get(TOKENS_PER_S, self.tokens_per_s)
        self.total_steps = int(metrics[TOTAL_STEPS]) if TOTAL_STEPS in metrics else self.total_steps
        if REWARD in metrics:
            self.rewards.append(metrics[REWARD])
        for name, scores in self.evaluations.items():
            if name in metrics:
                scores.append((record.step, metrics[name]))
        for name, value in metrics.items():
            if name.startswith(TIMING_PREFIX) and name not in WHOLES:
                phase = name.removeprefix(TIMING_PREFIX)
                self.seconds[phase] = self.seconds.get(phase, 0.0) + value

    def shares(self) -> list[tuple[str, float]]:
        """Return (phase, its share of the time of all phases), the longest first."""
        whole = sum(self.seconds.values())
        if whole <= 0:
            return []
        return sorted(((name, value / whole) for name, value in self.seconds.items()), key=lambda one: -one[1])

    def remaining_s(self) -> float | None:
        """Return an estimate of the seconds that are left, at the pace so far."""
        if not self.total_steps or not self.step or not self.elapsed_s:
            return None
        return max(0.0, self.elapsed_s / self.step * (self.total_steps - self.step))
