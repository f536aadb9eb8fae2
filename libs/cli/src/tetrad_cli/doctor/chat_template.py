"""The chat template of a model: without one no prompt can be rendered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_config.chat_template import REMEDY, template_file

SUBJECT: Final = "chat template"


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
    found = template_file(folder)
    if found is not None:
        yield Finding(Verdict.GOOD, SUBJECT, f"in {folder / found}")
    else:
        yield Finding(Verdict.BAD, SUBJECT, f"{folder} has none", REMEDY)
