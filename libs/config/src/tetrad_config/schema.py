"""Schema: which keys the run file has, read from the models. Owns no key itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import get_args, get_origin

from pydantic.fields import FieldInfo

from tetrad_config.run import RunConfig
from tetrad_config.section import DottedKey, Section


def section_of(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field holds, or None where it holds a value."""
    held = field.annotation
    return held if isinstance(held, type) and issubclass(held, Section) else None


def _walk(section: type[Section], prefix: str) -> Iterator[tuple[DottedKey, FieldInfo]]:
    for name, field in section.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        below = section_of(field)
        if below is None:
            yield DottedKey(key), field
        else:
            yield from _walk(below, key)


@cache
def fields() -> dict[DottedKey, FieldInfo]:
    """Return every key that holds a value, in the order of the models, with its field."""
    return dict(_walk(RunConfig, ""))


def section_at(path: tuple[str, ...]) -> type[Section] | None:
    """Return the section at `path`, or None where there is none."""
    section: type[Section] = RunConfig
    for name in path:
        field = section.model_fields.get(name)
        below = section_of(field) if field else None
        if below is None:
            return None
        section = below
    return section


def is_free_form(key: DottedKey) -> bool:
    """Tell whether the keys below `key` are not ours to know (`engine_init_kwargs` and its like)."""
    field = fields().get(key)
    if field is None:
        return False
    return any(get_origin(held) is dict for held in (field.annotation, *get_args(field.annotation)))


def free_form_parent(key: DottedKey) -> DottedKey | None:
    """Return the free-form key that `key` stands below, if there is one."""
    parts = key.split(".")
    parents = (DottedKey(".".join(parts[:end])) for end in range(1, len(parts)))
    return next((parent for parent in parents if is_free_form(parent)), None)
