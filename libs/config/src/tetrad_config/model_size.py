"""Model size: how many parameters a model has, without loading it.

From the headers of a folder's safetensors files, else from the name (`Qwen2.5-0.5B`); unknown otherwise.
"""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import Final

_IN_NAME: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([BM])(?![A-Za-z0-9])", re.IGNORECASE)
_UNIT: Final = {"B": 10**9, "M": 10**6}
# A header larger than this is not one: safetensors itself refuses it.
_MAX_HEADER_BYTES: Final = 100_000_000


def _parameters_in(path: Path) -> int:
    """Sum the element counts of one safetensors file: 8 bytes of header length, then JSON."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _MAX_HEADER_BYTES:
            raise ValueError(f"{path} has a header of {size} bytes; the limit is {_MAX_HEADER_BYTES}")
        header = json.loads(file.read(size))
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def num_parameters(model: str) -> int | None:
    """Return the parameters of a model folder or of a model whose name says it; None where neither does.

    >>> num_parameters("Qwen/Qwen2.5-0.5B-Instruct")
    500000000
    """
    folder = Path(model)
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if files:
        try:
            return sum(_parameters_in(file) for file in files)
        except (OSError, ValueError, KeyError, TypeError):
            return None
    match = _IN_NAME.search(folder.name)
    return round(float(match[1]) * _UNIT[match[2].upper()]) if match else None
