"""Field words: type, limits and default of a key in the words of a run file. Pure."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import AfterValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from tetrad_config.section import Interval
from tetrad_config.shown import shown

_PLAIN: Final[Mapping[object, str]] = {
    int: "integer",
    float: "number",
    bool: "true or false",
    str: "text",
    Path: "path",
    type(None): "null",
}
_BOUNDS: Final = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
_ON_OR_OFF: Final = next(item for item in typing.get_args(Interval) if isinstance(item, AfterValidator))


def type_words(field: FieldInfo) -> str:
    """Return the type of a field with its limits.

    >>> type_words(FieldInfo.from_annotation(Interval)), type_words(FieldInfo.from_annotation(bool | None))
    ('integer >= 1, or -1 for off', 'true or false, or null')
    """
    return _words(field.annotation) + _limits(field.metadata)


def default_words(field: FieldInfo) -> str:
    """Return the default as it would stand in the file."""
    default = field.get_default(call_default_factory=True)
    return "none: it is required" if default is PydanticUndefined else shown(to_jsonable_python(default))


def _words(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _words(arguments[0]) + _limits(arguments[1:])
    if origin in (types.UnionType, typing.Union):
        return ", or ".join(dict.fromkeys(_words(one) for one in arguments))
    if origin is tuple:
        return f"list of {_words(arguments[0])}"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " | ".join(member.value for member in annotation)
    return _PLAIN.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _limits(metadata: Iterable[Any]) -> str:
    flat = [limit for item in metadata for limit in getattr(item, "metadata", [item])]
    if any(limit == _ON_OR_OFF for limit in flat):
        return " >= 1, or -1 for off"
    found = [f" {sign} {getattr(limit, name):g}" for limit in flat for name, sign in _BOUNDS if hasattr(limit, name)]
    return "".join(dict.fromkeys(found))
