"""A single reward function in the shape of an environment."""

import inspect
from collections.abc import Callable, Mapping
from typing import ClassVar

from tetrad_reward.environment import Conversation, StepOutput
from tetrad_reward.ground_truth import ground_truth_of

RewardFunction = Callable[..., float]
"""`fn(response: str, ground_truth: str | None, **extras) -> float`."""


class FunctionEnvironment:
    """Single turn, scored by a function; extras that the function does not accept are not passed."""

    replayable: ClassVar[bool] = False

    def __init__(self, function: RewardFunction, extras: Mapping[str, object]) -> None:
        self._function = function
        self._ground_truth = ground_truth_of(extras)
        self._extras = dict(extras)

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, object]]:
        """Show the prompt as it is; the function may ask for it as `prompt`."""
        self._extras.setdefault("prompt", prompt)
        return prompt, {}

    def step(self, action: str) -> StepOutput:
        """Score the response and end the episode."""
        accepted = accepted_extras(self._function, self._extras)
        reward = self._function(action, self._ground_truth, **accepted)
        return {"observations": [], "reward": reward, "done": True, "metadata": {}}


def accepted_extras(function: RewardFunction, extras: Mapping[str, object]) -> dict[str, object]:
    """Return those extras that the function can take by name, besides its first two parameters.

    >>> accepted_extras(lambda response, ground_truth, *, level: 1.0, {"level": 3, "other": 4})
    {'level': 3}
    """
    parameters = list(inspect.signature(function).parameters.values())[2:]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        taken = set(list(inspect.signature(function).parameters)[:2])
        return {name: value for name, value in extras.items() if name not in taken}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {parameter.name for parameter in parameters if parameter.kind in by_name}
    return {name: value for name, value in extras.items() if name in names}


def check_signature(function: RewardFunction) -> None:
    """Raise ValueError unless the function can be called as `fn(response, ground_truth)`."""
    if inspect.iscoroutinefunction(function):
        raise ValueError("a reward function must be a plain one, not async")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 2 or any(parameter.kind not in positional for parameter in parameters[:2]):
        raise ValueError(
            f"a reward function takes (response, ground_truth, **extras); this one takes {inspect.signature(function)}"
        )
