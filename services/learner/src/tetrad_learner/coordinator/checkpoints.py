"""Checkpoint folders: whole or absent, `latest` last, the oldest removed.

`global_step_N/` is a Hugging Face folder with `trainer/`, `ledger.sqlite` and `MANIFEST.json`. Owns names and
retention; the ranks write the tensors.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_trajectories.atomic import written_atomically

MANIFEST: Final = "MANIFEST.json"
LEDGER: Final = "ledger.sqlite"
LATEST_LINK: Final = "latest"
LATEST_FILE: Final = "latest_ckpt_global_step.txt"
_NAME: Final = re.compile(r"global_step_(\d+)")
_CHUNK_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    step: int
    folder: Path


class CheckpointError(Exception):
    """A checkpoint cannot be used, and why."""


class Checkpoints:
    """The checkpoints of one folder."""

    def __init__(self, folder: Path, *, max_kept: int) -> None:
        self._folder = folder
        self._max_kept = max_kept

    def begin(self, step: int) -> Path:
        """Make the temporary folder of a checkpoint, removing what a killed writer left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob(".global_step_*.tmp"):
            shutil.rmtree(leftover)
        temporary = self._folder / f".global_step_{step}.{secrets.token_hex(4)}.tmp"
        temporary.mkdir()
        return temporary

    def complete(self, step: int, temporary: Path, facts: dict[str, object]) -> Checkpoint:
        """Write the manifest, rename, move `latest`, then remove what is beyond the limit. Blocks: use a thread."""
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        entries = {str(path.relative_to(temporary)): _describe(path) for path in files}
        manifest = {"step": step, **facts, "files": entries}
        with written_atomically(temporary / MANIFEST) as path:
            path.write_text(json.dumps(manifest, indent=1))
        for folder in [temporary, *(path for path in temporary.rglob("*") if path.is_dir())]:
            _sync_folder(folder)
        final = self._folder / f"global_step_{step}"
        former = self._hide(final) if final.exists() else None
        temporary.rename(final)
        _sync_folder(self._folder)
        if former is not None:
            shutil.rmtree(former)
        self._point_to(final)
        self._prune()
        return Checkpoint(step, final)

    def all(self) -> list[Checkpoint]:
        """Complete checkpoints, oldest first; one without a manifest does not count."""
        if not self._folder.is_dir():
            return []
        named = [(match, path) for path in self._folder.iterdir() if (match := _NAME.fullmatch(path.name))]
        found = [Checkpoint(int(match[1]), path) for match, path in named if (path / MANIFEST).is_file()]
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint."""
        return next(reversed(self.all()), None)

    def _point_to(self, final: Path) -> None:
        link = self._folder / f".latest.{secrets.token_hex(4)}"
        link.symlink_to(final.name)
        link.replace(self._folder / LATEST_LINK)
        with written_atomically(self._folder / LATEST_FILE) as path:
            path.write_text(str(_step_of(final)))

    def _prune(self) -> None:
        if self._max_kept < 0:
            return
        for checkpoint in self.all()[: -max(self._max_kept, 1)]:
            shutil.rmtree(self._hide(checkpoint.folder))

    def _hide(self, folder: Path) -> Path:
        """Give a complete checkpoint a temporary name: one that is half removed must not count."""
        return folder.rename(self._folder / f".{folder.name}.{secrets.token_hex(4)}.tmp")


def verify(folder: Path) -> dict[str, object]:
    """Read and check a checkpoint's manifest and files; raise CheckpointError naming what is wrong."""
    try:
        manifest: dict[str, object] = json.loads((folder / MANIFEST).read_text())
        entries = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder} is no checkpoint: {error}") from error
    assert isinstance(entries, dict)
    for name, expected in entries.items():
        path = folder / name
        if not path.is_file() or _describe(path) != expected:
            raise CheckpointError(f"{path} is missing or differs from the manifest")
    return manifest


def _step_of(folder: Path) -> int:
    match = _NAME.fullmatch(folder.name)
    if match is None:
        raise CheckpointError(f"{folder} must be named global_step_N")
    return int(match[1])


def _describe(path: Path) -> dict[str, object]:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        os.fsync(file.fileno())
    return {"num_bytes": path.stat().st_size, "blake2b": digest.hexdigest()}


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
