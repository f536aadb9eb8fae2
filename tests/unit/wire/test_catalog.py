"""The table of kinds is complete and says the truth."""

import inspect
from typing import get_type_hints

import msgspec
import numpy as np
import pytest

from tetrad_testing.builders import BUILDERS
from tetrad_wire.catalog import ARRAY_FIELDS, CLASSES, KINDS


def test_kinds_and_classes_are_one_to_one():
    assert {kind: KINDS[cls] for kind, cls in CLASSES.items()} == {kind: kind for kind in CLASSES}


@pytest.mark.parametrize("cls", KINDS, ids=KINDS.values())
def test_a_message_is_frozen_keyword_only_and_documented(cls):
    assert cls.__struct_config__.frozen
    assert {p.kind for p in inspect.signature(cls).parameters.values()} <= {inspect.Parameter.KEYWORD_ONLY}
    assert inspect.getdoc(cls)


@pytest.mark.parametrize("cls", KINDS, ids=KINDS.values())
def test_array_fields_are_those_annotated_as_arrays(cls):
    hints = get_type_hints(cls)

    assert ARRAY_FIELDS[cls] == tuple(name for name, hint in hints.items() if hint is np.ndarray)


def test_no_part_of_a_message_holds_an_array():
    parts = {kind for cls in CLASSES.values() for kind in _parts(cls)} - set(KINDS)

    assert all(hint is not np.ndarray for part in parts for hint in get_type_hints(part).values())


def test_there_is_a_builder_for_each_kind():
    assert {kind: type(build()) for kind, build in BUILDERS.items()} == CLASSES


def _parts(cls: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found: set[type[msgspec.Struct]] = set()
    pending = [cls]
    while pending:
        for hint in get_type_hints(pending.pop()).values():
            for part in _structs(hint):
                if part not in found:
                    found.add(part)
                    pending.append(part)
    return found


def _structs(hint: object) -> list[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    return [part for argument in getattr(hint, "__args__", ()) for part in _structs(argument)]
