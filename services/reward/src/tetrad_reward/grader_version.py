"""A name for what grades: equal exactly where name, source and settings are equal, on any host.

Covers the files of the class, of its bases and of the modules in its `grader_sources`; other imports are not
followed, so a grader that leans on further modules should list them there.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Final

# Enough to tell versions of one grader apart, and short enough to read in a log.
DIGEST_CHARS: Final = 12


def grader_version(reference: str, target: type | Callable[..., object], config: Mapping[str, object]) -> str:
    """Return `name-digest` over the reference, its source files and its settings."""
    name = portable_name(reference)
    digest = hashlib.sha256(name.encode())
    for source in _sources(target):
        digest.update(source)
    digest.update(json.dumps(config, sort_keys=True, default=repr).encode())
    return f"{name}-{digest.hexdigest()[:DIGEST_CHARS]}"


def portable_name(reference: str) -> str:
    """Drop the folders of a file, which differ between hosts.

    >>> portable_name("/home/me/graders/length.py:short")
    'length.py:short'
    """
    place, colon, attribute = reference.rpartition(":")
    return f"{PurePath(place).name}{colon}{attribute}" if place.endswith(".py") else reference


def _sources(target: type | Callable[..., object]) -> Iterator[bytes]:
    paths = (_source_file(origin) for origin in _origins(target))
    for path in dict.fromkeys(path for path in paths if path is not None):
        yield Path(path).read_bytes()


def _origins(target: type | Callable[..., object]) -> Sequence[object]:
    if not isinstance(target, type):
        return [inspect.unwrap(target)]
    return [*inspect.getmro(target)[:-1], *getattr(target, "grader_sources", ())]


def _source_file(origin: object) -> str | None:
    try:
        return inspect.getsourcefile(origin)  # type: ignore[arg-type] # TypeError is the check
    except TypeError:
        # Built in or compiled: nothing to read; its name stands for it.
        return None
