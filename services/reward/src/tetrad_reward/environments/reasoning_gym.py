"""Procedurally generated tasks of reasoning-gym, graded by its own scorers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, ClassVar, Final

import reasoning_gym

from tetrad_reward import evaluated_answers
from tetrad_reward.environment import Conversation, StepOutput, settings_of
from tetrad_reward.evaluated_answers import is_harmless
from tetrad_reward.ground_truth import require_ground_truth

COLUMN: Final = "reasoning_gym"
"""Column of a row that says how it was generated: `task`, `config` (JSON), `seed`, `size`, `index`."""
OPENING: Final = "<answer>"
CLOSING: Final = "</answer>"
# Some scorers parse what they are given; no answer of a task is longer.
MAX_ANSWER_CHARS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningGymSettings:
    """`environment.reasoning_gym`."""

    partial_credit: bool = True


class ReasoningGym:
    """Single turn; the reward is the score that the task's own scorer gives to the answer, from 0 to 1.

    The answer is what stands in the last `<answer>…</answer>`, or the whole response. Rows are made by
    `tetrad data reasoning-gym` and generated again here, since their metadata may be any Python object. Setting:
    `partial_credit` (default true); without it everything below 1 is 0. Answers that a scorer would run are worth 0.
    """

    replayable: ClassVar[bool] = True
    grader_sources: ClassVar[tuple[ModuleType, ...]] = (evaluated_answers,)

    @classmethod
    def prepare_grader(cls, env_config: Mapping[str, object]) -> None:
        """Check the settings."""
        settings_of(ReasoningGymSettings, "reasoning_gym", env_config)

    def __init__(
        self, env_config: Mapping[str, object] | None = None, extras: Mapping[str, object] | None = None
    ) -> None:
        self._has_partial_credit = settings_of(ReasoningGymSettings, "reasoning_gym", env_config).partial_credit
        self._dataset, self._entry = entry_of(extras or {})

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, object]]:
        """Show the prompt as it is."""
        return prompt, {}

    def step(self, action: str) -> StepOutput:
        """Score the response and end the episode."""
        answer, rule = answer_in(action)
        score = self._score(answer[:MAX_ANSWER_CHARS])
        reward = score if self._has_partial_credit else float(score >= 1.0)
        return {"observations": [], "reward": reward, "done": True, "metadata": {"extracted": answer, "rule": rule}}

    def _score(self, answer: str) -> float:
        # A composite task names in each entry the task that it comes from, and scores by.
        if not is_harmless(answer, task=str(self._entry["metadata"].get("source_dataset"))):
            return 0.0
        return float(self._dataset.score_answer(answer, self._entry))


def answer_in(response: str) -> tuple[str, str]:
    r"""Return the last tagged answer and `tag`, or the whole response and `whole`.

    >>> answer_in("<answer>1</answer> no, <answer> 2 </answer>"), answer_in(" 3\n")
    (('2', 'tag'), ('3', 'whole'))
    """
    end = response.rfind(CLOSING)
    start = response.rfind(OPENING, 0, end) if end >= 0 else -1
    if start < 0:
        return response.strip(), "whole"
    return response[start + len(OPENING) : end].strip(), "tag"


def entry_of(extras: Mapping[str, object]) -> tuple[Any, dict[str, Any]]:
    """Generate a row's entry again; raises ValueError where the row is none, or comes out otherwise."""
    origin = extras.get(COLUMN)
    if not isinstance(origin, Mapping):
        raise ValueError(  # noqa: TRY004  # the row is wrong, not the call
            f"the row has no column {COLUMN}; make the data set with: tetrad data reasoning-gym"
        )
    dataset = _dataset(
        task=str(origin["task"]), config=str(origin["config"]), seed=int(origin["seed"]), size=int(origin["size"])
    )
    entry: dict[str, Any] = dataset[int(origin["index"])]
    if str(entry["answer"]) != require_ground_truth(extras):
        raise ValueError(
            f"{origin['task']} {origin['index']} comes out otherwise from the reasoning-gym that is installed; "
            "make the data set again with: tetrad data reasoning-gym"
        )
    return dataset, entry


@lru_cache(maxsize=64)
def _dataset(*, task: str, config: str, seed: int, size: int) -> Any:
    return reasoning_gym.create_dataset(task, seed=seed, size=size, **json.loads(config))
