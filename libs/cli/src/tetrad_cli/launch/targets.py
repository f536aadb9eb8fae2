"""Tells Prometheus what to scrape: a file_sd list, replaced by rename, which Prometheus watches.

Owns the format. `role` and `replica` are labels of the target, so that no metric has to carry them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One process to scrape."""

    role: str
    name: str
    port: int


def write_targets(path: Path, targets: Sequence[Target], *, run: str) -> None:
    """Write the targets of a run; readers see the old file or the new one, never a part."""
    entries = [
        {
            "targets": [f"127.0.0.1:{target.port}"],
            "labels": {"run": run, "role": target.role, "replica": target.name},
        }
        for target in targets
    ]
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(entries, indent=1) + "\n")
    temporary.replace(path)
