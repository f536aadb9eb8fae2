"""Names are given once and looked up with help."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tetrad_algorithms.registry import Registry, UnknownNameError


def a_registry() -> Registry[Callable[[], int]]:
    registry: Registry[Callable[[], int]] = Registry("example.key")
    registry.register("one")(lambda: 1)
    return registry


def test_a_registered_function_is_found_by_its_name() -> None:
    assert a_registry().get("one")() == 1


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match=r"example\.key 'one' is registered already"):
        a_registry().register("one")(lambda: 2)


def test_an_unknown_name_is_refused_with_key_and_known_names() -> None:
    with pytest.raises(UnknownNameError, match=r"example\.key is 'zzz'; known are one$"):
        a_registry().get("zzz")
