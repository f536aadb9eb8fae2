"""Sums: paid for exactly the right text and nothing else."""

from collections.abc import Mapping
from typing import ClassVar

from tetrad_reward.environment import Conversation, StepOutput
from tetrad_reward.ground_truth import require_ground_truth


class Arithmetic:
    """Single turn; reward 1 if the whole response is the ground truth, else 0.

    >>> Arithmetic(extras={"reward_spec": {"ground_truth": "95"}}).step("95")["reward"]
    1.0
    """

    replayable: ClassVar[bool] = True

    def __init__(
        self, env_config: Mapping[str, object] | None = None, extras: Mapping[str, object] | None = None
    ) -> None:
        if env_config:
            raise ValueError(f"arithmetic has no settings; got {', '.join(env_config)}")
        self._ground_truth = require_ground_truth(extras or {})

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, object]]:
        """Show the prompt as it is."""
        return prompt, {}

    def step(self, action: str) -> StepOutput:
        """Score the response and end the episode."""
        reward = float(action == self._ground_truth)
        return {
            "observations": [],
            "reward": reward,
            "done": True,
            "metadata": {"extracted": action, "rule": "whole"},
        }
