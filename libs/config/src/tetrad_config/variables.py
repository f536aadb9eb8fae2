"""Variables: the `TETRAD_*` environment, each variable known or refused. Pure.

Names with two underscores are keys of the run file (`TETRAD_TRAINER__EPOCHS`); the others are settings of service
processes (`TETRAD_RUN_DIR`). A variable that is neither is a mistake: it would be ignored without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from tetrad_config.aliases import ALIASES
from tetrad_config.errors import Problem
from tetrad_config.layer import Layer, Origin, OriginKind
from tetrad_config.overrides import MalformedValueError, yaml_value
from tetrad_config.process import PREFIX, SERVICES
from tetrad_config.refused import OUT_OF_SCOPE
from tetrad_config.schema import fields, free_form_parent
from tetrad_config.section import DottedKey
from tetrad_config.suggestion import nearest, nearest_key
from tetrad_config.tree import placed

_NESTING: Final = "__"


def variable_of(key: str) -> str:
    """Return the variable of a key or a setting.

    >>> variable_of("trainer.epochs"), variable_of("run_dir")
    ('TETRAD_TRAINER__EPOCHS', 'TETRAD_RUN_DIR')
    """
    return PREFIX + key.replace(".", _NESTING).upper()


@cache
def _keys_by_lower_case() -> dict[str, DottedKey]:
    known = (*fields(), *ALIASES, *map(DottedKey, OUT_OF_SCOPE))
    return {key.lower(): key for key in known}


@cache
def _settings_fields() -> frozenset[str]:
    return frozenset(name for service in SERVICES for name in service.model_fields)


@cache
def _settings() -> frozenset[str]:
    return frozenset(map(variable_of, _settings_fields()))


def _key_of(name: str) -> DottedKey | None:
    """Return the run file's key of a variable, or None where it has none."""
    lower = name.removeprefix(PREFIX).lower().replace(_NESTING, ".")
    known = _keys_by_lower_case().get(lower)
    return known or (DottedKey(lower) if free_form_parent(DottedKey(lower)) else None)


def _unknown(name: str) -> Problem:
    word = name.removeprefix(PREFIX).lower().replace(_NESTING, ".")
    # Compared without the prefix, which would make every name look like every other.
    setting = None if "." in word else nearest(word, _settings_fields())
    guess = setting or nearest_key(word, fields())
    return Problem(
        key=name, message=f"unknown variable; did you mean {variable_of(guess)}?" if guess else "unknown variable"
    )


def _ours(environ: Mapping[str, str]) -> Iterator[str]:
    return (name for name in sorted(environ) if name.startswith(PREFIX))


def unknown_variables(environ: Mapping[str, str]) -> list[Problem]:
    """Return a problem for every `TETRAD_*` variable that nothing reads."""
    return [_unknown(name) for name in _ours(environ) if name not in _settings() and _key_of(name) is None]


def variable_layers(environ: Mapping[str, str]) -> tuple[list[Layer], list[Problem]]:
    """Read the keys of the run file that the environment sets, one layer per variable."""
    layers: list[Layer] = []
    problems = unknown_variables(environ)
    for name in _ours(environ):
        key = None if name in _settings() else _key_of(name)
        if key is None:
            continue
        try:
            tree = placed({}, key, yaml_value(environ[name]))
        except MalformedValueError as error:
            problems.append(Problem(key=name, message=str(error)))
        else:
            layers.append(Layer(origin=Origin(OriginKind.ENVIRONMENT, name), tree=tree))
    return layers, problems
