"""What makes a checkpoint folder whole: its manifest, which lists every file with size and hash.

Owns the format of `MANIFEST.json`. What the files mean, and which checkpoint is used, is others' business.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from tetrad_trajectories.atomic import written_atomically
from tetrad_trajectories.errors import CheckpointError

MANIFEST: Final = "MANIFEST.json"
_CHUNK_BYTES: Final = 4 << 20


def write_manifest(folder: Path, facts: dict[str, object]) -> None:
    """List what is in the folder, and `facts` about it; every listed file is on disk when this returns."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = {str(path.relative_to(folder)): _describe(path, is_synced=True) for path in files}
    with written_atomically(folder / MANIFEST) as path:
        path.write_text(json.dumps({**facts, "files": entries}, indent=1))


def verify(folder: Path) -> dict[str, object]:
    """Read and check a checkpoint's manifest and files; raise CheckpointError naming what is wrong."""
    manifest = read_manifest(folder)
    entries = manifest["files"]
    assert isinstance(entries, dict)
    for name, expected in entries.items():
        path = folder / name
        if not path.is_file() or _describe(path) != expected:
            raise CheckpointError(f"{path} is missing or differs from the manifest")
    return manifest


def read_manifest(folder: Path) -> dict[str, object]:
    """Read a checkpoint's manifest without comparing it with the files; raise CheckpointError where there is none."""
    try:
        manifest: dict[str, object] = json.loads((folder / MANIFEST).read_text())
        manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} is no checkpoint: {error}") from error
    return manifest


def _describe(path: Path, *, is_synced: bool = False) -> dict[str, object]:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        if is_synced:
            os.fsync(file.fileno())
    return {"num_bytes": path.stat().st_size, "blake2b": digest.hexdigest()}
