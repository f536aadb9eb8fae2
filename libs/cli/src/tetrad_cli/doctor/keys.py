"""Keys of the services: whether there is a folder of them. What is in it is not looked at here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict

VARIABLE: Final = "TETRAD_KEYS"


def key_folder(patient: Patient) -> Path:
    """Return where keys would be."""
    if patient.environ.get(VARIABLE):
        return Path(patient.environ[VARIABLE])
    config = patient.environ.get("XDG_CONFIG_HOME") or Path(patient.environ.get("HOME", "~")).expanduser() / ".config"
    return Path(config) / "tetrad" / "keys"


def check(patient: Patient) -> Iterator[Finding]:
    """Whether the folder is there, and nobody else may read it."""
    folder = key_folder(patient)
    if not folder.is_dir():
        yield Finding(Verdict.NOTE, "keys", f"none in {folder}; runs on one machine need none")
    elif folder.stat().st_mode & 0o077:
        yield Finding(Verdict.BAD, "keys", f"others may read {folder}", f"chmod 700 {folder}")
    else:
        yield Finding(Verdict.GOOD, "keys", str(folder))
