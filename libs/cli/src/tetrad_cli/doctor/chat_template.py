"""The chat template of a model: without one no prompt can be rendered."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict

SUBJECT: Final = "chat template"
FILES: Final = ("chat_template.jinja", "chat_template.json")
FIX: Final = "add chat_template.jinja to the model folder, or set generator.chat_template"


def check(patient: Patient) -> Iterator[Finding]:
    """Whether the model that is named has one; nothing is asked of the Hub."""
    if patient.model is None:
        yield Finding(Verdict.NOTE, SUBJECT, "no model is named", "tetrad doctor --model FOLDER looks at its template")
        return
    folder = Path(patient.model)
    if not folder.is_dir():
        fix = "name the folder it was downloaded to"
        yield Finding(Verdict.NOTE, SUBJECT, f"{patient.model} is no folder here; not looked at", fix)
        return
    found = _where(folder)
    if found is not None:
        yield Finding(Verdict.GOOD, SUBJECT, f"in {folder / found}")
    else:
        yield Finding(Verdict.BAD, SUBJECT, f"{folder} has none", FIX)


def _where(folder: Path) -> str | None:
    for name in FILES:
        if (folder / name).is_file():
            return name
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError):
        return None
    return "tokenizer_config.json" if settings.get("chat_template") else None
