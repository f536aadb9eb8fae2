"""Where the keys of this machine are, and whether they can be used."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import Finding, Verdict

VARIABLE: Final = "TETRAD_KEYS"
SUBJECT: Final = "keys"
FIX: Final = "`tetrad keys --help` says how keys are made, exported and revoked"


def key_folder(environ: Mapping[str, str], *, given: str | None = None) -> Path:
    """Return the folder of keys: as given, as `TETRAD_KEYS` says, or in the user's configuration."""
    named = given or environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~"), ".config").expanduser()
    return Path(base) / "tetrad" / "keys"


def key_findings(environ: Mapping[str, str]) -> list[Finding]:
    """What `tetrad doctor` says of them: nothing is wrong where nobody asked for keys."""
    if VARIABLE not in environ:
        detail = f"{VARIABLE} is not set: services stay on this host; `tetrad keys init` makes some"
        return [Finding(Verdict.NOTE, SUBJECT, detail)]
    folder = key_folder(environ)
    problems = list(_problems(folder))
    if problems:
        return [Finding(Verdict.BAD, SUBJECT, problem, FIX) for problem in problems]
    return [Finding(Verdict.GOOD, SUBJECT, f"usable, in {folder}")]


def _problems(folder: Path) -> Iterator[str]:
    from tetrad_transport.keys import KeysError
    from tetrad_transport.keys.files import SUFFIX, read_private
    from tetrad_transport.keys.folder import PRIVATE, PUBLIC, KeyFolder

    if not (folder / PUBLIC).is_dir():
        yield f"{folder} has none; make them with `tetrad keys init --folder {folder}`"
        return
    try:
        _allowed, problems = KeyFolder(folder).allowed()
        yield from problems
    except KeysError as error:
        yield str(error)
    for path in sorted((folder / PRIVATE).glob(f"*{SUFFIX}")):
        try:
            read_private(path)
        except KeysError as error:
            yield str(error)
