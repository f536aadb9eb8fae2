"""A checkpoint folder is whole, or what is wrong with it is named."""

import json
from pathlib import Path

import pytest

from tetrad_trajectories.checkpoint import MANIFEST, read_manifest, verify, write_manifest
from tetrad_trajectories.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "trainer" / "rank_0.pt").write_bytes(b"")
    write_manifest(tmp_path, {"step": 7})
    return tmp_path


def test_a_manifest_lists_every_file_with_size_and_hash(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())

    assert manifest["step"] == 7
    assert {name: entry["num_bytes"] for name, entry in manifest["files"].items()} == {
        "model.safetensors": 7,
        "trainer/rank_0.pt": 0,
    }
    assert verify(folder) == manifest


def test_one_other_byte_is_found(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weightz")

    assert read_manifest(folder)["step"] == 7
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing or differs from the manifest"):
        verify(folder)


@pytest.mark.parametrize("manifest", [None, "{", "{}", "[]"])
def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest)

    with pytest.raises(CheckpointError, match=f"{tmp_path} is no checkpoint"):
        verify(tmp_path)
