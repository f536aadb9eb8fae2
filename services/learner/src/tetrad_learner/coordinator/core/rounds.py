"""Rounds of evaluation: which step's weights are evaluated, and the one round that is open. Pure."""

from dataclasses import dataclass, field

from tetrad_learner.coordinator.core.config import CoreConfig


@dataclass(slots=True)
class RoundBook:
    """All rounds of a run; a round is named after the training step whose weights it judges."""

    config: CoreConfig
    sizes: tuple[int, ...]
    """Samples of each group of a round; empty where the run has nothing to evaluate."""
    reported: set[int] = field(default_factory=set)
    current: int | None = None
    """The round that is open."""
    deadline: float = 0.0
    is_reporting: bool = False
    """Whether the open round has all its samples, or the time is up, and its report is being written."""

    @property
    def is_open(self) -> bool:
        """Whether there is a round under way."""
        return self.current is not None

    def is_due(self, step: int) -> bool:
        """Whether the weights after `step` are to be evaluated and have not been."""
        if step in self.reported or not self.sizes:
            return False
        interval = self.config.evaluation_interval
        return (
            (step == 0 and self.config.is_evaluated_first)
            or (step > 0 and interval > 0 and step % interval == 0)
            or (0 < step == self.config.num_steps and self.config.is_evaluated_last)
        )

    def open(self, step: int, now: float) -> None:
        """Begin the round of `step`."""
        self.current = step
        self.deadline = now + self.config.evaluation_timeout_s

    def report(self) -> int:
        """Take no more samples; return the round that is to be reported."""
        assert self.current is not None
        self.is_reporting = True
        return self.current

    def abandon(self) -> None:
        """Nobody can finish the open round: it is opened again once its weights are out anew."""
        self.current = None

    def close(self, round_: int) -> bool:
        """Note that a round is reported; whether it was the open one."""
        if round_ != self.current:
            return False
        self.reported.add(round_)
        self.current, self.is_reporting = None, False
        return True
