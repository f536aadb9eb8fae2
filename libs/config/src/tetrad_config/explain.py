"""Explain: pydantic's errors in the words of somebody who writes run files. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from tetrad_config.errors import Problem
from tetrad_config.layer import Origin, OriginKind
from tetrad_config.schema import fields, section_at
from tetrad_config.section import DottedKey
from tetrad_config.shown import shown
from tetrad_config.suggestion import did_you_mean, nearest, nearest_key
from tetrad_config.tree import leaves

_LIMITS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than_equal": ("ge", "is less than the limit"),
    "greater_than": ("gt", "must be more than"),
    "less_than_equal": ("le", "is more than the limit"),
    "less_than": ("lt", "must be less than"),
}
"""pydantic's error → name of the limit in its context, and how it is said."""

_EXPECTED: Final[Mapping[str, str]] = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "path_type": "a path",
}


def _key_of(error: ErrorDetails) -> DottedKey:
    """Return the dotted key, without the branches that pydantic adds for unions."""
    names: list[str] = []
    for name in error["loc"]:
        if isinstance(name, int):
            return DottedKey(f"{'.'.join(names)}[{name}]")
        if error["type"] != "extra_forbidden" and DottedKey(".".join(names)) in fields():
            break
        names.append(name)
    return DottedKey(".".join(names))


def _kind(value: object) -> str:
    match value:
        case bool():
            return f"the boolean {shown(value)}"
        case int() | float():
            return f"the number {shown(value)}"
        case None:
            return "nothing (null)"
        case str():
            return f"the text {shown(value)}"
        case list() | tuple():
            return f"the list {value!r}"
        case _:
            return f"{value!r}"


def _quoting(key: str, value: object) -> str:
    """Say what YAML 1.1 does to words and numbers that were meant as text."""
    match value:
        case bool():
            words = "yes, on and true" if value else "no, off and false"
            example = "yes" if value else "no"
        case int() | float():
            words, example = "unquoted digits", shown(value)
        case _:
            return ""
    kind = "booleans" if isinstance(value, bool) else "numbers"
    return f". YAML reads {words} as {kind}; for text write quotes, as in '{key}=\"{example}\"'"


def _message(key: str, error: ErrorDetails) -> str:
    value, context = error["input"], error.get("ctx", {})
    if limit := _LIMITS.get(error["type"]):
        return f"{shown(value)} {limit[1]} {shown(context[limit[0]])}"
    if error["type"] == "enum":
        choices = [choice.strip(" '") for choice in context["expected"].replace(" or ", ",").split(",")]
        guess = did_you_mean(value, choices) if isinstance(value, str) else ""
        return f"{shown(value)} is none of {', '.join(choices)}{guess}"
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "model_type":
        return f"is a section with keys of its own; got {_kind(value)}"
    if expected := _EXPECTED.get(error["type"]):
        quoting = _quoting(key, value) if error["type"] == "string_type" else ""
        return f"must be {expected}; got {_kind(value)}{quoting}"
    if error["type"] == "value_error":
        return f"{context['error']}; got {_kind(value)}"
    return f"{error['msg']}; got {_kind(value)}"


def _respelt(key: DottedKey, unknown: DottedKey) -> str | None:
    """Guess at `unknown`, which stands at or below the unknown `key`: a misspelt section keeps what is below it."""
    parent, _, name = key.rpartition(".")
    section = section_at(tuple(parent.split(".")) if parent else ())
    sibling = nearest(name, list(section.model_fields) if section else [])
    if sibling is None or unknown == key:
        return nearest_key(unknown, fields())
    below = f"{parent}.{sibling}".lstrip(".") + unknown.removeprefix(key)
    return nearest_key(below, fields())


def _explained(error: ErrorDetails) -> Iterator[Problem]:
    key = _key_of(error)
    if error["type"] != "extra_forbidden":
        yield Problem(key=key, message=_message(key, error))
        return
    value: JsonValue = error["input"]
    for unknown, _ in leaves(value, key) if isinstance(value, dict) and value else [(key, value)]:
        guess = _respelt(key, unknown)
        yield Problem(key=unknown, message=f"unknown key; did you mean {guess}?" if guess else "unknown key")


def _origin_of(key: str, origins: Mapping[DottedKey, Origin]) -> Origin | None:
    """Return who set `key`, or something below it: a mapping where a value is expected has origins of its own."""
    below = (origin for known, origin in origins.items() if known.startswith(f"{key}."))
    exact = origins.get(DottedKey(key))
    return next((origin for origin in below if origin.kind is not OriginKind.DEFAULT), exact)


def explained(error: ValidationError, *, origins: Mapping[DottedKey, Origin] | None = None) -> list[Problem]:
    """Turn a validation error into one problem per wrong value, each with its source."""
    problems: list[Problem] = []
    for details in error.errors(include_url=False):
        for problem in _explained(details):
            origin = _origin_of(problem.key.partition("[")[0], origins or {})
            source = f" ({origin})" if origin else ""
            problems.append(Problem(key=problem.key, message=problem.message + source))
    return problems
