"""What every log line carries while it is true: the run, the policy version, the group at work.

Owns the names of these fields. The values live in context variables, so a task's binding is its own.
"""

from contextlib import AbstractContextManager
from typing import Final

import structlog

FIELDS: Final = ("run", "version", "group", "step", "replica")


def bind(**fields: str | int) -> None:
    """Add fields to every later line of this task and of the tasks it starts.

    >>> bind(run="demo", replica="rollout-0")
    >>> current()["run"]
    'demo'
    >>> unbind("run", "replica")
    """
    structlog.contextvars.bind_contextvars(**_known(fields))


def unbind(*names: str) -> None:
    """Stop adding these fields."""
    structlog.contextvars.unbind_contextvars(*names)


def bound(**fields: str | int) -> AbstractContextManager[None]:
    """Add fields only within a `with` block, for instance the group at work."""
    return structlog.contextvars.bound_contextvars(**_known(fields))


def current() -> dict[str, object]:
    """Return the fields that a line written now would carry."""
    return dict(structlog.contextvars.get_contextvars())


def _known(fields: dict[str, str | int]) -> dict[str, str | int]:
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise ValueError(f"log context has no field {', '.join(unknown)}; it has {', '.join(FIELDS)}")
    return fields
