"""What one event led to: facts to make durable, then effects to perform."""

from dataclasses import dataclass, field

from tetrad_learner.coordinator.core.effects import Effect
from tetrad_learner.coordinator.core.facts import Fact


@dataclass(slots=True)
class Outcome:
    """Collects while an event is handled; effects wait for the facts to be durable."""

    facts: list[Fact] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    def record(self, fact: Fact) -> None:
        """Add a fact."""
        self.facts.append(fact)

    def do(self, effect: Effect) -> None:
        """Add an effect."""
        self.effects.append(effect)

    def drain(self) -> "Outcome":
        """Take what was collected, leaving nothing."""
        taken = Outcome(self.facts, self.effects)
        self.facts, self.effects = [], []
        return taken
