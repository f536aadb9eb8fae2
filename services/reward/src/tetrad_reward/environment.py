"""What an environment is: the contract of skyrl-gym's BaseTextEnv, by shape and not by inheritance.

Owns the checks on what foreign code returns. Knows no process and no wire.
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final, Protocol, TypedDict, TypeVar

from tetrad_wire.messages.leases import ChatMessage
from tetrad_wire.scores import require_scores

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Conversation = list[dict[str, str]]
"""Messages in the OpenAI shape: `role` and `content`."""

# As many names as a run may report; more would drown the dashboards.
MAX_METRICS: Final = 64


class InvalidResultError(ValueError):
    """The environment returned something that is no valid answer; never repaired, never made up."""


class StepOutput(TypedDict, total=False):
    """What `step` returns, as in skyrl-gym: a plain dict, of which the last two keys may be absent."""

    observations: Conversation
    reward: float
    done: bool
    metadata: dict[str, object]
    postprocessed_action: str | None


class TextEnvironment(Protocol):
    """One episode: text in, text out. skyrl-gym's BaseTextEnv is one, and so is any class of this shape.

    Made as `cls(env_config=…, extras=…)`; the extras are the dataset row's other columns with
    `reward_spec.ground_truth`, `max_turns` and `seed`. Only `step` is required. A class attribute
    `replayable = True` promises that equal actions lead to equal observations and rewards; `grade_timeout_s` is a
    deadline below the run's for each turn. A classmethod `prepare_grader(env_config)` is called once in each worker
    before the first episode, and raises where the environment cannot be used there.
    """

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, object]]:
        """Return what the policy is shown first, and metadata."""
        ...

    def step(self, action: str) -> StepOutput:
        """Answer one turn of the policy."""
        ...

    def close(self) -> None:
        """Let go of whatever the episode holds."""
        ...

    def get_metrics(self) -> dict[str, object]:
        """Return numbers about the finished episode."""
        ...


class Config(dict[str, object]):
    """Environment settings, read as a dict or by attribute, as OmegaConf's would be."""

    def __getattr__(self, name: str) -> object:
        """Return the setting; raises AttributeError where there is none."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"environment settings have no {name!r}; they have {sorted(self)}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A checked answer to one turn."""

    reward: float
    """Finite."""
    is_done: bool
    observations: tuple[ChatMessage, ...] = ()
    postprocessed_action: str | None = None
    """What goes into the transcript instead of the action."""
    extracted: str | None = None
    """`metadata["extracted"]`: the answer that was read from the action."""
    rule: str | None = None
    """`metadata["rule"]`: how it was found."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """`metadata["scores"]`: what other rules would have paid; finite, under names that suit a metric."""


Settings = TypeVar("Settings", bound="DataclassInstance")


def settings_of(kind: type[Settings], name: str, env_config: Mapping[str, object] | None) -> Settings:
    """Return an environment's settings, defaults where there are none; raises ValueError for one it does not have."""
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(env_config or {}) - known)
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known)) or 'none'}")
    return kind(**(env_config or {}))


def checked_step(output: object) -> StepResult:
    """Check what `step` returned; raises InvalidResultError naming what is wrong with it."""
    if not isinstance(output, Mapping):
        raise InvalidResultError(f"step returned {type(output).__name__}; it must return a dict")
    missing = [key for key in ("reward", "done") if key not in output]
    if missing:
        raise InvalidResultError(f"step returned no {' and no '.join(missing)}; it has {sorted(map(str, output))}")
    metadata = output.get("metadata") or {}
    return StepResult(
        reward=checked_reward(output["reward"]),
        is_done=bool(output["done"]),
        observations=checked_conversation(output.get("observations") or []),
        postprocessed_action=_optional_text(output.get("postprocessed_action"), "postprocessed_action"),
        extracted=_text_of(metadata, "extracted"),
        rule=_text_of(metadata, "rule"),
        scores=checked_scores(metadata.get("scores") or {} if isinstance(metadata, Mapping) else {}),
    )


def checked_reward(value: object) -> float:
    """Return the reward as a float; raises InvalidResultError unless it is one finite real number.

    Numbers of numpy count, text and None do not.
    """
    if not isinstance(value, numbers.Real):
        raise InvalidResultError(f"reward is {type(value).__name__} {str(value)[:80]!r}; it must be a number")
    reward = float(value)
    if not math.isfinite(reward):
        raise InvalidResultError(f"reward is {reward}; it must be finite")
    return reward


def checked_scores(values: object) -> dict[str, float]:
    """Return the extra scores of a turn; raises InvalidResultError for too many, a bad name or no finite number."""
    if not isinstance(values, Mapping):
        raise InvalidResultError(f"metadata['scores'] is {type(values).__name__}; it must be a dict of numbers")
    wrong = {name: value for name, value in values.items() if not isinstance(value, numbers.Real)}
    if wrong:
        name, value = next(iter(wrong.items()))
        raise InvalidResultError(f"score {str(name)[:80]!r} is {type(value).__name__}; it must be a number")
    scores = {str(name): float(value) for name, value in values.items()}
    try:
        require_scores(scores)
    except ValueError as error:
        raise InvalidResultError(f"metadata['scores']: {error}") from error
    return scores


def checked_conversation(messages: object) -> tuple[ChatMessage, ...]:
    """Return messages in the form that travels; raises InvalidResultError for anything but role and content."""
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise InvalidResultError(f"messages are {type(messages).__name__}; they must be a list of dicts")
    return tuple(_checked_message(message) for message in messages)


def checked_metrics(values: object) -> dict[str, float]:
    """Keep the finite numbers of `get_metrics`, as skyrl-gym's default aggregation does; at most MAX_METRICS."""
    if not isinstance(values, Mapping):
        raise InvalidResultError(f"get_metrics returned {type(values).__name__}; it must return a dict")
    finite = {
        str(name): float(value)
        for name, value in values.items()
        if isinstance(value, numbers.Real) and math.isfinite(value)
    }
    if len(finite) > MAX_METRICS:
        raise InvalidResultError(f"get_metrics returned {len(finite)} numbers; the limit is {MAX_METRICS}")
    return finite


def _checked_message(message: object) -> ChatMessage:
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        shape = sorted(map(str, message)) if isinstance(message, Mapping) else type(message).__name__
        raise InvalidResultError(f"a message is {shape}; only a dict of role and content travels")
    role, content = message["role"], message["content"]
    if not isinstance(role, str) or not isinstance(content, str):
        raise InvalidResultError("a message's role and content must be text")
    return ChatMessage(role, content)


def _text_of(metadata: object, key: str) -> str | None:
    value = metadata.get(key) if isinstance(metadata, Mapping) else None
    return None if value is None else str(value)


def _optional_text(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidResultError(f"{name} is {type(value).__name__}; it must be text")
    return value
