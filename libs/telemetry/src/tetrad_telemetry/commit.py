"""The commit that the running code is of, where that can be known: an installation from Git, or from a checkout.

Reads two small files. Runs no program; what it cannot read is `unknown`.
"""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

UNKNOWN: Final = "unknown"
DISTRIBUTION: Final = "tetrad-telemetry"


def commit_of(name: str = DISTRIBUTION) -> str:
    """Return the commit that a distribution was installed from, or the one checked out where it is editable."""
    try:
        origin = json.loads(distribution(name).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError, OSError):
        return UNKNOWN
    if commit := origin.get("vcs_info", {}).get("commit_id"):
        return str(commit)
    if not origin.get("dir_info", {}).get("editable"):
        return UNKNOWN
    return checked_out(Path(unquote(urlsplit(origin["url"]).path)))


def checked_out(folder: Path) -> str:
    """Return the commit of the checkout that a folder lies in; a worktree is one too."""
    for parent in (folder, *folder.parents):
        if (git := parent / ".git").exists():
            try:
                return _head(git)
            except (OSError, ValueError):
                return UNKNOWN
    return UNKNOWN


def _head(git: Path) -> str:
    if git.is_file():
        git = git.parent / git.read_text().strip().removeprefix("gitdir: ")
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head
    name, common = head.removeprefix("ref: "), git / "commondir"
    shared = (git / common.read_text().strip()) if common.exists() else git
    if (loose := shared / name).exists():
        return loose.read_text().strip()
    packed = (line.split() for line in (shared / "packed-refs").read_text().splitlines() if not line.startswith("#"))
    return next((words[0] for words in packed if words[1:] == [name]), UNKNOWN)
