"""Layer: values from one source, and the stack of them. Pure.

Precedence is the order of the stack: defaults < file < preset < environment < command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tetrad_config.section import DottedKey
from tetrad_config.tree import Tree, contains, leaves, merged, without


class OriginKind(StrEnum):
    """Where a value comes from, in rising precedence."""

    DEFAULT = "default"
    DERIVED = "derived"
    FILE = "file"
    RUN = "run"
    """The file in which an earlier run kept every key, asked for or not."""
    PRESET = "preset"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "command line"

    @property
    def beats_presets(self) -> bool:
        """Whether a preset cannot change the value."""
        return self in (OriginKind.ENVIRONMENT, OriginKind.COMMAND_LINE)

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody set the value for this run."""
        return self in (OriginKind.FILE, OriginKind.ENVIRONMENT, OriginKind.COMMAND_LINE)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value comes from."""

    kind: OriginKind
    name: str = ""
    """File, preset or variable; for a derived value the key it follows."""

    def __str__(self) -> str:
        match self.kind:
            case OriginKind.DEFAULT | OriginKind.COMMAND_LINE:
                return self.kind.value
            case OriginKind.DERIVED:
                return f"from {self.name}"
            case OriginKind.PRESET:
                return f"preset {self.name}"
            case OriginKind.FILE | OriginKind.RUN | OriginKind.ENVIRONMENT:
                return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one source says."""

    origin: Origin
    tree: Tree = field(default_factory=dict)
    """Values, with interpolations unresolved."""
    deleted: tuple[DottedKey, ...] = ()
    """Keys taken back to their default (`~a.b`)."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Layers laid on each other."""

    tree: Tree = field(default_factory=dict)
    origins: dict[DottedKey, Origin] = field(default_factory=dict)
    """Leaf → the layer that had the last word."""


def _covers(key: DottedKey, other: DottedKey) -> bool:
    return other == key or other.startswith(f"{key}.")


def _put(stack: Stack, layer: Layer) -> Stack:
    tree, origins = merged(stack.tree, layer.tree), dict(stack.origins)
    for key in layer.deleted:
        tree = without(tree, key)
    set_here = [key for key, _ in leaves(layer.tree)]
    for known in list(origins):
        if not contains(tree, known) or any(_covers(key, known) or _covers(known, key) for key in set_here):
            del origins[known]
    origins.update(dict.fromkeys(set_here, layer.origin))
    return Stack(tree, origins)


def stacked(layers: Iterable[Layer]) -> Stack:
    """Lay each layer on those before it."""
    stack = Stack()
    for layer in layers:
        stack = _put(stack, layer)
    return stack
