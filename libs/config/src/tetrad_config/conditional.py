"""Conditional: keys that matter only when something else is so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tetrad_config.run import RunConfig


@dataclass(frozen=True, slots=True)
class Conditional:
    """Keys that matter only when something else is so."""

    keys: tuple[str, ...]
    """Keys, or sections whose keys are meant."""
    matters: Callable[[RunConfig], bool]
    because: Callable[[RunConfig], str]
    """Why they have no effect otherwise."""
