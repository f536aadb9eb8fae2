"""Plugin: keys that name one of our functions or somebody else's.

Somebody else's is `module:function`, or the name of an installed entry point. Owns no key; imports nothing of others,
so that a run file is read without torch: what the names lead to is found out by `tetrad_algorithms.plugins`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from importlib.metadata import entry_points
from typing import Final

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

MODULE_AND_FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def own_or_plugin(own: type[StrEnum], group: str) -> PlainValidator:
    """Return a validator that reads a name of `own`, `module:function`, or an entry point of `group`."""

    def read(value: object) -> StrEnum | str:
        if isinstance(value, str) and value in list(own):
            return own(value)
        if isinstance(value, str) and ".py:" in value:
            module = value.replace(".py:", ":").replace("/", ".").lstrip(".")
            raise PydanticCustomError("file", "must name a module, not a file, such as {module}", {"module": module})
        installed = entry_points(group=group).names
        if isinstance(value, str) and (MODULE_AND_FUNCTION.fullmatch(value) or value in installed):
            return value
        expected = ", ".join(f"'{name}'" for name in (*own, *sorted(installed)))
        raise PydanticCustomError("enum", "Input should be {expected}", {"expected": f"{expected} or module:function"})

    return PlainValidator(read)
