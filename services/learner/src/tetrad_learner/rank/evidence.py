"""The dump of a poisoned step: what each rank was given, and what was not finite when it gave up.

Owns the layout of `poisoned/step_N/`: `rank_R.npz` holds the arrays of the order, `rank_R.json` the rest. Must not know
how a step is executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tetrad_wire.messages.steps import ExecuteStep

# The rest is in every gradient that a NaN has reached.
MAX_NAMED: Final = 20
_RANK: Final = re.compile(r"rank_(\d+)\.json")


class EvidenceError(ValueError):
    """The folder is no dump of a poisoned step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A dump as it was read back."""

    step: int
    error: str
    """Of the first rank that has one."""
    strange: tuple[str, ...]
    """Tensors of any rank that were not finite when the step was given up."""
    orders: tuple[ExecuteStep, ...]
    """What each rank was given, by rank."""


def write_evidence(poisoned: Path, order: ExecuteStep, *, rank: int, error: str, strange: Sequence[str]) -> Path:
    """Write one rank's part; return the folder of the step's dump."""
    folder = poisoned / f"step_{order.step}"
    folder.mkdir(parents=True, exist_ok=True)
    fields: dict[str, Any] = {name: getattr(order, name) for name in order.__struct_fields__}
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    scalars = {name: value for name, value in fields.items() if name not in arrays}
    np.savez(folder / f"rank_{rank}.npz", allow_pickle=False, **arrays)
    text = json.dumps({"error": error, "not_finite": list(strange)[:MAX_NAMED], "order": scalars}, indent=1)
    (folder / f"rank_{rank}.json").write_text(text + "\n")
    return folder


def read_evidence(folder: Path) -> Evidence:
    """Read the dump of a step; raises EvidenceError naming what is wrong with it."""
    found = {int(match[1]): path for path in folder.glob("*.json") if (match := _RANK.fullmatch(path.name))}
    if not found:
        raise EvidenceError(f"{folder} holds no rank_0.json; name the folder of a poisoned step, …/poisoned/step_N")
    if sorted(found) != list(range(len(found))):
        raise EvidenceError(f"{folder} holds ranks {sorted(found)}; the dump of every rank is needed")
    try:
        parts = [_read(found[rank]) for rank in sorted(found)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"{folder} cannot be read: {error}") from error
    return Evidence(
        step=parts[0][0].step,
        error=parts[0][1],
        strange=tuple(name for _order, _error, names in parts for name in names),
        orders=tuple(order for order, _error, _names in parts),
    )


def _read(path: Path) -> tuple[ExecuteStep, str, list[str]]:
    facts = json.loads(path.read_text())
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        order = ExecuteStep(**facts["order"], **{name: arrays[name] for name in arrays.files})
    return order, facts["error"], facts["not_finite"]
