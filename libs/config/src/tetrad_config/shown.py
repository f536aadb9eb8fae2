"""Shown: how a value is written in messages and in YAML. Pure."""

from __future__ import annotations

import json
from math import isfinite

from pydantic import JsonValue


def _shown_text(value: str) -> str:
    """Quote as JSON does, and escape what YAML refuses to read raw."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _shown_float(value: float) -> str:
    if not isfinite(value):
        return ".nan" if value != value else ".inf" if value > 0 else "-.inf"  # noqa: PLR0124  # nan is not itself
    text = repr(value)
    mantissa, exponent, power = text.partition("e")
    # YAML 1.1 reads 1e-06 as text: the mantissa needs a point.
    return f"{mantissa}.0e{power}" if exponent and "." not in mantissa else text


def shown(value: JsonValue) -> str:
    """Write a value so that every YAML reader reads it back as it was.

    >>> shown(1e-6), shown(True), shown("yes"), shown([1, None])
    ('1.0e-06', 'true', '"yes"', '[1, null]')
    """
    match value:
        case bool() | None:
            return json.dumps(value)
        case str():
            return _shown_text(value)
        case float():
            return _shown_float(value)
        case int():
            return str(value)
        case list():
            return "[" + ", ".join(shown(item) for item in value) + "]"
        case dict():
            entries = (f"{_shown_text(key)}: {shown(item)}" for key, item in value.items())
            return "{" + ", ".join(entries) + "}"
