"""The boards as they are committed: what Grafana will show, read back from their JSON.

Owns the reading of that JSON. Needs no SDK, so that a board that somebody exported from Grafana can be checked too.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"

EMPTY_ON_A_CPU: Final[Mapping[tuple[str, str], str]] = {
    ("rollout", "SGLang"): "SGLang's own metrics; the CPU set-up samples with transformers",
    ("learner", "GPU"): "no peak to compare with is known of a CPU, and no device lease is held for one",
}
"""Board and row whose panels have no data where there is no GPU, and why."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One panel of a board."""

    board: str
    row: str
    raw: Mapping[str, Any]

    @property
    def title(self) -> str:
        """As it stands above the panel."""
        return str(self.raw.get("title", ""))

    @property
    def name(self) -> str:
        """For whoever reads what is wrong with it."""
        return f"{self.board} / {self.row} / {self.title}"

    @property
    def targets(self) -> list[Mapping[str, Any]]:
        """Its queries."""
        return list(self.raw.get("targets", []))

    @property
    def place(self) -> tuple[int, int, int, int]:
        """x, y, width and height on the grid."""
        at = self.raw["gridPos"]
        return at["x"], at["y"], at["w"], at["h"]


def read_boards(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Every board by the name of its file."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def panels_of(name: str, board: Mapping[str, Any]) -> Iterator[Shown]:
    """The panels of a board, each with the heading that it stands under."""
    row = ""
    for panel in board["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        else:
            yield Shown(name, row, panel)
        for inner in panel.get("panels") or ():
            yield Shown(name, row, inner)
