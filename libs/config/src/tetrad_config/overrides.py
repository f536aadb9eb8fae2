"""Overrides: `a.b=c`, `+a.b=c`, `~a.b` and `+experiment=NAME` of the command line. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import JsonValue
from yaml import YAMLError

from tetrad_config.errors import Problem
from tetrad_config.layer import Layer, Origin, OriginKind
from tetrad_config.section import DottedKey
from tetrad_config.tree import placed

PRESET_GROUP: Final = "experiment"
_KEY: Final = re.compile(r"^[A-Za-z_][\w-]*(\.[A-Za-z_0-9][\w-]*)*$")
_COMMAND_LINE: Final = Origin(OriginKind.COMMAND_LINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line asks for."""

    layers: tuple[Layer, ...]
    """One per override, in order."""
    presets: tuple[str, ...]
    """Names given with `+experiment=`, in order."""
    problems: tuple[Problem, ...]


class MalformedValueError(ValueError):
    """A value that is not YAML."""


def yaml_value(text: str) -> JsonValue:
    """Read one value as YAML, as the run file would; empty text is the empty text, not null."""
    if not text:
        return ""
    try:
        # A document of one key: the reader then treats numbers and dates as it does in files.
        tree = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)
    except (YAMLError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise MalformedValueError(f"{text!r} is not YAML ({reason}); put text with special signs in quotes") from error
    assert isinstance(tree, dict)
    return tree["value"]  # type: ignore[no-any-return]  # OmegaConf types containers loosely


def _assignment(text: str) -> Layer | str | Problem:
    key, equals, value = text.lstrip("+").partition("=")
    if not equals or not _KEY.match(key):
        return Problem(key=text, message="is not an override; write key=value, +key=value, ~key or +experiment=NAME")
    if key == PRESET_GROUP:
        return value
    try:
        return Layer(origin=_COMMAND_LINE, tree=placed({}, DottedKey(key), yaml_value(value)))
    except MalformedValueError as error:
        return Problem(key=key, message=str(error))


def _deletion(text: str) -> Layer | Problem:
    key = text.removeprefix("~")
    if not _KEY.match(key):
        return Problem(key=text, message="is not a deletion; write ~key, without a value")
    return Layer(origin=_COMMAND_LINE, deleted=(DottedKey(key),))


def parse_overrides(overrides: Sequence[str]) -> Overrides:
    """Read the command line; `+` is welcome before any key and needed before none."""
    parsed = [_deletion(text) if text.startswith("~") else _assignment(text) for text in overrides]
    return Overrides(
        layers=tuple(p for p in parsed if isinstance(p, Layer)),
        presets=tuple(p for p in parsed if isinstance(p, str)),
        problems=tuple(p for p in parsed if isinstance(p, Problem)),
    )
