"""Training steps: sealed, executed, covered; and the lineage of the weights."""

from dataclasses import dataclass, field

from tetrad_learner.coordinator.core.facts import (
    LineageOpened,
    StepAttempted,
    StepExecuted,
    StepsCovered,
    StepSealed,
)
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.core.tables import STEP, StepState, follow


@dataclass(slots=True)
class StepBook:
    """How far the run is. Steps count from 1; 0 is the initial model."""

    out: Outcome
    sealed: int = 0
    """Newest step whose batch is durable."""
    executed: int = 0
    """Newest step that the ranks' weights contain, on this lineage."""
    covered: int = 0
    """Newest step in a checkpoint."""
    lineage: int = 0
    lineages_from: dict[int, int] = field(default_factory=dict)
    """Lineages opened from each checkpoint step."""
    replay_until: int = 0
    """Steps up to here were executed before the ranks were lost."""
    journaling: int | None = None
    executing: int | None = None
    saving: int | None = None
    """Step of the checkpoint that is being made, until it is whole."""
    is_copying: bool = False
    """Whether the ranks keep still for it: they write a copy, and go on as soon as they have it."""
    skipped: set[int] = field(default_factory=set)
    """Poisoned steps that are passed over: they change no weights."""
    are_ranks_ready: bool = False
    states: dict[int, StepState] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    """Times each step was given to ranks and not finished."""

    @property
    def is_idle(self) -> bool:
        """Whether the ranks wait for work."""
        return self.are_ranks_ready and self.executing is None and not self.is_copying

    def open_lineage(self, from_step: int) -> None:
        """A set of ranks begins from the weights of `from_step`."""
        if from_step > self.sealed:
            raise ValueError(f"ranks hold step {from_step}, but only {self.sealed} steps are sealed")
        self.lineage += 1
        attempt = self.lineages_from.get(from_step, 0) + 1
        self.lineages_from[from_step] = attempt
        self._rewind(from_step)
        self.replay_until = max(self.replay_until, self.executed)
        # A checkpoint that the ranks have loaded covers its step, told or not; a newer one must be unreadable.
        self.executed = self.covered = from_step
        self.executing = None
        self.end_saving()
        self.are_ranks_ready = True
        self.out.record(LineageOpened(lineage=self.lineage, from_step=from_step, attempt=attempt))

    def seal(self, draws: tuple[int, ...], multiplicities: tuple[int, ...], journal_hash: str) -> None:
        """The next step's batch is durable."""
        self.sealed += 1
        self.journaling = None
        self.states[self.sealed] = StepState.SEALED
        self.out.record(
            StepSealed(
                step=self.sealed,
                lineage=self.lineage,
                draws=draws,
                multiplicities=multiplicities,
                journal_hash=journal_hash,
            )
        )

    def begin(self) -> int:
        """Give the next step to the ranks."""
        step = self.executed + 1
        self.executing = step
        self.attempts[step] = self.attempts.get(step, 0) + 1
        self.out.record(StepAttempted(step=step, lineage=self.lineage))
        return step

    def forgive(self, step: int | None) -> None:
        """The last attempt at a step says nothing of it: the next one is made otherwise."""
        if step is not None:
            self.attempts[step] -= 1

    def finish(self, step: int) -> None:
        """The ranks have executed it."""
        self.states[step] = follow(STEP, self.states[step], StepState.EXECUTED)
        self.executing, self.executed = None, step
        self.attempts.pop(step, None)
        self.out.record(StepExecuted(step=step, lineage=self.lineage))

    def pass_over(self) -> None:
        """The next step is skipped: the weights before it are also those after it."""
        self.finish(self.executed + 1)

    def begin_saving(self) -> int:
        """Have the ranks make a checkpoint of what they hold."""
        self.saving, self.is_copying = self.executed, True
        return self.executed

    def note_copied(self, step: int) -> None:
        """The ranks hold what the checkpoint needs: their weights may change."""
        if step == self.saving:
            self.is_copying = False

    def end_saving(self) -> None:
        """Nothing is being saved any more."""
        self.saving, self.is_copying = None, False

    def cover(self, step: int, folder: str) -> None:
        """A checkpoint holds everything up to `step`."""
        self.end_saving()
        for number in range(step, 0, -1):
            if self.states[number] is not StepState.EXECUTED:
                break
            self.states[number] = follow(STEP, self.states[number], StepState.COVERED)
        self.covered = step
        self.out.record(StepsCovered(step=step, folder=folder))

    def _rewind(self, from_step: int) -> None:
        """Steps up to `from_step` are in the loaded checkpoint, later ones have to be executed again."""
        for step, state in self.states.items():
            if step > from_step and state is not StepState.SEALED:
                self.states[step] = follow(STEP, state, StepState.SEALED)
            elif step <= from_step and state is not StepState.COVERED:
                self.states[step] = follow(STEP, state, StepState.COVERED)

    def lose_ranks(self) -> None:
        """What the ranks were doing is void as a whole."""
        self.are_ranks_ready = False
        self.executing = None
        self.end_saving()
