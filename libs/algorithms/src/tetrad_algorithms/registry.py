"""A registry: names from the run file on one side, functions on the other.

Owns the spelling of the names and the error for a wrong one; functions of others are found by `plugins`. Must not know
what the functions compute.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from tetrad_algorithms import plugins

F = TypeVar("F")


class UnknownNameError(ValueError):
    """The run file names something that nobody registered; for `module:function` it is a PluginError instead."""

    def __init__(self, *, key: str, name: str, known: tuple[str, ...]) -> None:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        super().__init__(f"{key} is {name!r}; known are {', '.join(known)}{hint}")
        self.key, self.name, self.known = key, name, known


class Registry(Generic[F]):
    """Functions by the name that the run file uses.

    >>> shapes: Registry[Callable[[float], float]] = Registry("example.shape")
    >>> @shapes.register("square")
    ... def square(x: float) -> float:
    ...     return x * x
    >>> shapes.get("square")(3.0)
    9.0
    >>> shapes.get("sqare")
    Traceback (most recent call last):
    ...
    tetrad_algorithms.registry.UnknownNameError: example.shape is 'sqare'; known are square; did you mean 'square'?
    """

    def __init__(self, key: str, *, guard: Callable[[F, str], F] | None = None) -> None:
        """Name the configuration `key` whose values are looked up here.

        `guard` gets a function of others and its name, and returns one that checks what that one returns.
        """
        self._key = key
        self._guard = guard
        self._entries: dict[str, F] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """Return a decorator that enters a function under `name`; a name is given once."""

        def enter(function: F) -> F:
            if name in self._entries:
                raise ValueError(f"{self._key} {name!r} is registered already")
            self._entries[name] = function
            return function

        return enter

    def get(self, name: str) -> F:
        """Return the function called `name`: a registered one, else that of an entry point or `module:function`.

        Raises UnknownNameError with the nearest spelling, or PluginError where foreign code is no such function.
        """
        if name in self._entries:
            return self._entries[name]
        found = plugins.find(self._key, name)
        if found is None:
            raise UnknownNameError(key=self._key, name=name, known=(*self.names(), *plugins.installed(self._key)))
        function = cast("F", found)
        return self._guard(function, name) if self._guard else function

    def names(self) -> tuple[str, ...]:
        """Return all registered names, sorted; those of entry points are not among them."""
        return tuple(sorted(self._entries))
