"""Plugins: functions of others by entry point or `module:function`, for the keys of the run file that allow them.

Owns which keys do, under which entry-point group, what such a function is called with, and the words for one that
cannot be had. Imports foreign code, so only where it is about to be used. Must not know what the functions compute.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Final

# Objects named in a message; more would hide the reason.
MAX_SHOWN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginPoint:
    """Where a function of others may stand."""

    group: str
    """Entry-point group in which packages register theirs."""
    parameters: tuple[str, ...]
    """What it is called with, by position."""


PLUGIN_POINTS: Final[Mapping[str, PluginPoint]] = {
    "trainer.algorithm.advantage_estimator": PluginPoint(
        group="tetrad.advantage_estimators", parameters=("outcomes", "options")
    ),
    "trainer.algorithm.policy_loss_type": PluginPoint(group="tetrad.policy_losses", parameters=("tokens", "options")),
    "trainer.algorithm.loss_reduction": PluginPoint(group="tetrad.loss_reductions", parameters=("counts",)),
}


class PluginError(ValueError):
    """A name leads to foreign code that cannot be used."""

    def __init__(self, *, key: str, name: str, reason: str) -> None:
        super().__init__(f"{key} is {name!r}: {reason}")
        self.key, self.name = key, name
        self.reason = reason
        """Why it cannot be used, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    """One object in one module, and who asked for it."""

    key: str
    name: str
    module: str
    attribute: str

    def error(self, reason: str) -> PluginError:
        return PluginError(key=self.key, name=self.name, reason=reason)


def find(key: str, name: str) -> Callable[..., object] | None:
    """Import the function that `name` leads to; None where it is neither `module:function` nor an entry point.

    Raises PluginError where the name leads somewhere, but to no function that can be called; and whatever importing
    foreign code raises.

    >>> find("trainer.algorithm.loss_reduction", "operator:neg")
    <built-in function neg>
    >>> find("trainer.algorithm.loss_reduction", "nobody_registered_this")
    >>> find("trainer.algorithm.loss_reduction", "operator:negg")
    Traceback (most recent call last):
    ...
    tetrad_algorithms.plugins.PluginError: trainer.algorithm.loss_reduction is 'operator:negg': module operator has no \
'negg'; did you mean 'neg'?
    """
    point = PLUGIN_POINTS.get(key)
    reference = _reference(key, name, point) if point else None
    if point is None or reference is None:
        return None
    return _function(reference, _attribute(reference, _module(reference)), point)


def installed(key: str) -> tuple[str, ...]:
    """Return the names that installed packages have registered for a key, sorted."""
    point = PLUGIN_POINTS.get(key)
    return tuple(sorted(entry_points(group=point.group).names)) if point else ()


def _reference(key: str, name: str, point: PluginPoint) -> _Reference | None:
    module, colon, attribute = name.partition(":")
    if colon:
        if not (module and attribute):
            raise PluginError(key=key, name=name, reason="it must be module:function")
        return _Reference(key=key, name=name, module=module, attribute=attribute)
    entry = _entry_point(key, name, point)
    return None if entry is None else _Reference(key=key, name=name, module=entry.module, attribute=entry.attr)


def _entry_point(key: str, name: str, point: PluginPoint) -> EntryPoint | None:
    found = {entry.value: entry for entry in entry_points(group=point.group, name=name)}
    if len(found) > 1:
        values = ", ".join(sorted(found))
        reason = f"several packages register it ({values}); write one as module:function"
        raise PluginError(key=key, name=name, reason=reason)
    return next(iter(found.values()), None)


def _module(reference: _Reference) -> ModuleType:
    try:
        return importlib.import_module(reference.module)
    except ModuleNotFoundError as error:
        # A module missing inside the user's module is another problem than a mistyped name.
        if error.name is None or not f"{reference.module}.".startswith(f"{error.name}."):
            raise
        path = ", ".join(entry or "." for entry in sys.path[:3])
        raise reference.error(
            f"no module {error.name!r} (looked first in {path}); start the run in the module's folder, or install it"
        ) from error


def _attribute(reference: _Reference, module: ModuleType) -> object:
    value: object = module
    for part in reference.attribute.split("."):
        if not hasattr(value, part):
            raise reference.error(f"module {module.__name__} has no {reference.attribute!r}; {_hint(module, part)}")
        value = getattr(value, part)
    return value


def _hint(module: ModuleType, name: str) -> str:
    names = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names[:MAX_SHOWN]) or 'no functions'}"


def _function(reference: _Reference, value: object, point: PluginPoint) -> Callable[..., object]:
    wanted = ", ".join(point.parameters)
    if not callable(value):
        raise reference.error(f"it is of type {type(value).__name__}; it must be a function ({wanted})")
    try:
        signature = inspect.signature(value)
    except ValueError:  # Some builtins have none; they are found out when they are called.
        return value
    try:
        signature.bind(*point.parameters)
    except TypeError as error:
        raise reference.error(f"its parameters are {signature}; it is called with ({wanted})") from error
    return value
