"""One prompt of a dataset, in the row format of SkyRL.

Owns the meaning of the columns `prompt`, `env_class` and `reward_spec`. Knows no file format.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tetrad_trajectories.errors import DatasetError
from tetrad_trajectories.json_like import JsonValue, as_json

OWN_COLUMNS = frozenset({"prompt", "env_class", "reward_spec"})


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One dataset row."""

    prompt: tuple[Message, ...]
    """At least one message, in order."""
    env_class: str | None = None
    """Environment of this row; None takes the run's `environment.env_class`."""
    ground_truth: str | None = None
    """`reward_spec.ground_truth`; None where grading needs none."""
    reward_method: str | None = None
    """`reward_spec.method`, such as "rule"."""
    extras: Mapping[str, JsonValue] = field(default_factory=dict)
    """Every other column, as it stands. Further keys of `reward_spec` are under "reward_spec"."""

    def record(self) -> dict[str, JsonValue]:
        """Return the row as a plain record with SkyRL's columns in SkyRL's order; `parse_row` reads it back."""
        extras = dict(self.extras)
        head = {"data_source": extras.pop("data_source")} if "data_source" in extras else {}
        further = extras.pop("reward_spec", None)
        spec: dict[str, JsonValue] = {"method": self.reward_method, "ground_truth": self.ground_truth}
        return {
            **head,
            "prompt": [{"role": message.role, "content": message.content} for message in self.prompt],
            "env_class": self.env_class,
            "reward_spec": spec | further if isinstance(further, dict) else spec,
            **extras,
        }


def parse_row(record: Mapping[str, object], *, where: str) -> Row:
    """Check one record and type it.

    Raises DatasetError that begins with `where` (file and row) and names the column at fault.
    """
    if "prompt" not in record:
        raise DatasetError(
            f"{where} has no column prompt, but {', '.join(map(str, record)) or 'nothing'}; a prompt is "
            '[{"role": "user", "content": …}]: `tetrad data --help` lists what makes such files'
        )
    try:
        spec = _reward_spec(record.get("reward_spec"))
        return Row(
            prompt=_messages(record.get("prompt")),
            env_class=_env_class(record.get("env_class")),
            ground_truth=_ground_truth(spec.pop("ground_truth", None)),
            reward_method=_method(spec.pop("method", None)),
            extras=_extras(record, further_spec=spec),
        )
    except _ColumnError as error:
        raise DatasetError(f"{where}, column {error}") from None


class _ColumnError(ValueError):
    """What is wrong with which column."""


def _messages(value: object) -> tuple[Message, ...]:
    if isinstance(value, str):
        raise _ColumnError(
            'prompt: a bare string would bypass the chat template; write [{"role": "user", "content": …}] instead'
        )
    if not isinstance(value, list) or not value:
        raise _ColumnError(f"prompt: needs a list of at least one message, not {_shown(value)}")
    return tuple(_message(item, index) for index, item in enumerate(value))


def _message(value: object, index: int) -> Message:
    if not isinstance(value, dict):
        raise _ColumnError(f"prompt[{index}]: needs role and content, not {_shown(value)}")
    # Parquet pads structs with keys that other rows have; an absent key comes back as None.
    present = {key: item for key, item in value.items() if item is not None}
    unknown = sorted(present.keys() - {"role", "content"})
    if unknown:
        raise _ColumnError(f"prompt[{index}]: takes role and content only; remove {', '.join(unknown)}")
    role, content = present.get("role"), present.get("content")
    if not isinstance(role, str) or not role:
        raise _ColumnError(f"prompt[{index}].role: needs a name such as user, not {_shown(role)}")
    if not isinstance(content, str):
        raise _ColumnError(f"prompt[{index}].content: needs text, not {_shown(content)}")
    return Message(role, content)


def _env_class(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise _ColumnError(f"env_class: needs the name of an environment, not {_shown(value)}")


def _reward_spec(value: object) -> dict[str, JsonValue]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _ColumnError(f"reward_spec: needs method and ground_truth, not {_shown(value)}")
    return {str(key): _json(item, f"reward_spec.{key}") for key, item in value.items()}


def _method(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _ColumnError(f"reward_spec.method: needs text, not {_shown(value)}")


def _ground_truth(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise _ColumnError(
        f"reward_spec.ground_truth: needs text or a number, not {_shown(value)}; write structured answers as JSON text"
    )


def _extras(record: Mapping[str, object], *, further_spec: dict[str, JsonValue]) -> dict[str, JsonValue]:
    extras = {name: _json(value, name) for name, value in record.items() if name not in OWN_COLUMNS}
    if "extra_info" in extras:
        extras["extra_info"] = _decoded(extras["extra_info"])
    present: dict[str, JsonValue] = {key: value for key, value in further_spec.items() if value is not None}
    if present:
        extras["reward_spec"] = present
    return extras


def _decoded(value: JsonValue) -> JsonValue:
    """Return `extra_info` as a mapping where a writer stored it as JSON text."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        return as_json(json.loads(value))
    except ValueError:
        return value


def _json(value: object, column: str) -> JsonValue:
    try:
        return as_json(value)
    except TypeError as error:
        raise _ColumnError(f"{column}: {error}; use text, numbers, lists and mappings") from None


def _shown(value: object) -> str:
    text = repr(value)
    return "nothing" if value is None else text if len(text) <= 60 else f"{text[:57]}…"
