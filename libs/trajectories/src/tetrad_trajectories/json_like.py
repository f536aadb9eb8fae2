"""JSON-like values: what a row's extra columns may hold, and one canonical spelling of them."""

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


def as_json(value: object) -> JsonValue:
    """Return `value` if it is JSON-like all the way down; raise TypeError naming the first type that is not."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [as_json(item) for item in value]
        case dict():
            return {str(key): as_json(item) for key, item in value.items()}
        case _:
            raise TypeError(f"{type(value).__name__} is not JSON-like")


def canonical(value: Mapping[str, JsonValue] | Sequence[JsonValue]) -> bytes:
    """Spell `value` the same way whatever the order of its keys; floats keep every bit."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
