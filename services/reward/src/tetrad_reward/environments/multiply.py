"""Products of large numbers, over several turns and with tools that do one step of them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from tetrad_reward.environment import Conversation, StepOutput, settings_of
from tetrad_reward.extraction import last_boxed
from tetrad_reward.ground_truth import require_ground_truth

MAX_TURNS: Final = 5
# Beyond the product of any two numbers that a data set asks for.
MAX_DIGITS: Final = 64
# SkyRL's: a wrong answer in the right format, given in the last turn.
FORMAT_REWARD: Final = 0.5

INSTRUCTIONS: Final = """You may use tools, one call for each message:
multiply(a, b): the product of a number and a single digit
add(a, b): the sum of two numbers
Call one by writing <tool_call>{"name": "multiply", "arguments": {"a": 123, "b": 4}}</tool_call> and wait.
Give the final answer as \\boxed{your_answer}."""

_CALL: Final = re.compile(r"<tool_call>([^<]{1,512})</tool_call>")


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplySettings:
    """`environment.multiply`."""

    tools: bool = True


class Multiply:
    r"""Reward 1 for the right product in `\boxed{}`, 0.5 for a wrong one in the last turn; a wrong one may be repeated.

    Setting: `tools` (default true). Without, it scores exactly as SkyRL's example of that name.

    >>> env = Multiply(extras={"reward_spec": {"ground_truth": "492"}, "max_turns": 3})
    >>> call = '<tool_call>{"name": "multiply", "arguments": {"a": 123, "b": 4}}</tool_call>'
    >>> env.step(call)["observations"][0]["content"]
    '<tool_response>492</tool_response>'
    >>> env.step(r"\\boxed{492}")["reward"]
    1.0
    """

    replayable: ClassVar[bool] = True

    @classmethod
    def prepare_grader(cls, env_config: Mapping[str, object]) -> None:
        """Check the settings."""
        settings_of(MultiplySettings, "multiply", env_config)

    def __init__(
        self, env_config: Mapping[str, object] | None = None, extras: Mapping[str, object] | None = None
    ) -> None:
        extras = extras or {}
        self._has_tools = settings_of(MultiplySettings, "multiply", env_config).tools
        self._ground_truth = require_ground_truth(extras).strip()
        self._max_turns = int(str(extras.get("max_turns", MAX_TURNS)))
        self._turns = self._calls = 0

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, object]]:
        """Say which tools there are, unless the row has a system message of its own."""
        if not self._has_tools or any(message["role"] == "system" for message in prompt):
            return prompt, {}
        return [{"role": "system", "content": INSTRUCTIONS}, *prompt], {}

    def step(self, action: str) -> StepOutput:
        """Answer a call, or judge an answer."""
        self._turns += 1
        answer = last_boxed(action)
        is_right = answer is not None and answer.strip() == self._ground_truth
        if is_right or self._turns >= self._max_turns:
            reward = 1.0 if is_right else FORMAT_REWARD if answer is not None else 0.0
            return self._output(reward, answer, observed=None)
        return self._output(0.0, answer, observed=self._said(action, answer))

    def get_metrics(self) -> dict[str, object]:
        """Count turns and calls."""
        return {"turns": self._turns, "tool_calls": self._calls}

    def _said(self, action: str, answer: str | None) -> str:
        calls = _CALL.findall(action) if self._has_tools else []
        if answer is not None:
            return f"Your answer '{answer[:MAX_DIGITS]}' is incorrect. Please try again."
        if calls:
            self._calls += 1
            return f"<tool_response>{call_tool(calls[0])}</tool_response>"
        return "Please provide your answer in the format \\boxed{your_answer}."

    def _output(self, reward: float, answer: str | None, *, observed: str | None) -> StepOutput:
        return {
            "observations": [] if observed is None else [{"role": "user", "content": observed}],
            "reward": reward,
            "done": observed is None,
            "metadata": {"extracted": answer, "rule": "none" if answer is None else "boxed"},
        }


def call_tool(text: str) -> str:
    """Run one call; what is wrong with it comes back as text, as the policy has to learn from it.

    >>> call_tool('{"name": "add", "arguments": {"a": 1, "b": 2}}'), call_tool("add(1, 2)")
    ('3', 'error: a call is JSON with name and arguments')
    """
    try:
        call = json.loads(text)
        name, arguments = str(call["name"]), call["arguments"]
        given = [arguments[key] for key in ("a", "b")]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "error: a call is JSON with name and arguments"
    tool = TOOLS.get(name)
    if tool is None:
        return f"error: no tool {name[:40]!r}; there are {', '.join(TOOLS)}"
    try:
        return tool(*map(_number, given))
    except ValueError as error:
        return f"error: {error}"


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("a and b are whole numbers")  # noqa: TRY004  # the words go to the policy
    text = str(value) if isinstance(value, str) or abs(value) < 10**MAX_DIGITS else ""
    if not re.fullmatch(rf"-?[0-9]{{1,{MAX_DIGITS}}}", text):
        raise ValueError(f"a and b are whole numbers of at most {MAX_DIGITS} digits")
    return int(text)


def _multiply(left: int, right: int) -> str:
    if min(abs(left), abs(right)) > 9:
        return "error: one of a and b has a single digit"
    return str(left * right)


def _add(left: int, right: int) -> str:
    return str(left + right)


TOOLS: Final[Mapping[str, Callable[[int, int], str]]] = {"multiply": _multiply, "add": _add}
