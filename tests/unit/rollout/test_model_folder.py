"""A model by folder, or by its name on the Hub, whose cache is a folder too."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from tetrad_rollout.model_folder import model_folder, model_folder_here
from tetrad_runtime.exits import ConfigFault

NAME = "Qwen/Qwen2.5-0.5B-Instruct"
REVISION = "0" * 40


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in the Hub's cache of a host without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--Qwen--Qwen2.5-0.5B-Instruct"
    folder = repository / "snapshots" / REVISION
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    (folder / "config.json").write_text("{}")
    return folder


def test_a_name_on_the_hub_is_the_folder_of_its_cache(snapshot):
    assert model_folder(NAME) == model_folder_here(NAME) == snapshot


def test_a_folder_is_itself(tmp_path):
    assert model_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./absent", "is no folder; trainer.policy.model.path"),
        ("some/where/else", "is no folder; trainer.policy.model.path"),
        ("Qwen/absent", "the Hub does not give it"),
    ],
)
def test_what_is_neither_is_refused_by_name(snapshot, name, words):
    with pytest.raises(ConfigFault) as caught:
        model_folder(name)

    assert str(caught.value).startswith(name)
    assert words in str(caught.value)
