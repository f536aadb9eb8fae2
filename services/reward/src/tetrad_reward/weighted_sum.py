"""Several graders as one: the reward is the weighted sum of theirs, each of which stays visible.

At most one of them is an environment; it leads the episode. Functions see the response of its last turn. Made from
`reward.functions`. Knows no registry: graders are handed in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tetrad_reward.environment import Conversation, InvalidResultError, StepOutput, StepResult, checked_step
from tetrad_reward.grade_failure import GradeFailureError

if TYPE_CHECKING:
    from tetrad_reward.registry import Grader


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One grader of a sum."""

    name: str
    """Under which its reward is an extra score of the sample, and a metric."""
    weight: float
    grader: "Grader"


@dataclass(frozen=True, slots=True)
class _Part:
    component: Component
    environment: object


class WeightedSum:
    """One episode."""

    def __init__(self, components: Sequence[Component], extras: Mapping[str, object]) -> None:
        # The leader first: it says whether the episode goes on.
        ordered = sorted(components, key=lambda component: not component.grader.is_environment)
        self._parts = [_Part(component, component.grader.make(extras)) for component in ordered]
        self._rewards: dict[str, float] = {}

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, object]]:
        """Show what the leader shows."""
        shown: list[Conversation] = []
        for part in self._parts:
            init = getattr(part.environment, "init", None)
            shown.append(prompt if init is None else init([dict(message) for message in prompt])[0])
        return shown[0], {}

    def step(self, action: str) -> StepOutput:
        """Score the turn by the leader, and by all once it is the last."""
        first, *others = self._parts
        led = _stepped(first, action)
        results = {first.component: led}
        if led.is_done:
            results |= {part.component: _stepped(part, action) for part in others}
        for component, result in results.items():
            self._rewards[component.name] = self._rewards.get(component.name, 0.0) + result.reward
        return {
            "observations": [{"role": message.role, "content": message.content} for message in led.observations],
            "reward": sum(component.weight * result.reward for component, result in results.items()),
            "done": led.is_done,
            "postprocessed_action": led.postprocessed_action,
            "metadata": {
                "extracted": led.extracted,
                "rule": led.rule,
                "scores": {component.name: result.reward for component, result in results.items()},
            },
        }

    def get_metrics(self) -> dict[str, object]:
        """Return each component's reward of the episode, and what the components measured."""
        metrics: dict[str, object] = {f"component_{name}": reward for name, reward in self._rewards.items()}
        for part in self._parts:
            measure = getattr(part.environment, "get_metrics", None)
            if callable(measure):
                metrics |= {f"{part.component.name}_{name}": value for name, value in measure().items()}
        return metrics

    def close(self) -> None:
        """Close every component."""
        for part in self._parts:
            close = getattr(part.environment, "close", None)
            if callable(close):
                close()


def _stepped(part: _Part, action: str) -> StepResult:
    name = part.component.name
    try:
        return checked_step(part.environment.step(action))  # type: ignore[attr-defined]  # every grader makes steps
    except MemoryError:
        raise
    except GradeFailureError as error:
        raise GradeFailureError(f"component {name}: {error}", outcome=error.outcome, kind=error.kind) from error
    # A component is foreign code, and may raise anything.
    except Exception as error:
        raise InvalidResultError(f"component {name}: {type(error).__name__}: {error}") from error
