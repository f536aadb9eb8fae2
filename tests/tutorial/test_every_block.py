"""Before anything runs: the copy is the original, every block has a treatment, run files and commands are accepted."""

import hashlib
from pathlib import Path

import pytest
import yaml

from tetrad_config import load, plan, render
from tutorial.commands import overrides_of
from tutorial.promises import PROMISES
from tutorial.treatment import TREATMENTS, Kind
from tutorial.walk import RUN_FILE
from tutorial.workshop import ROOT

# docs/TUTORIAL_SGLANG.md of ai-blaise/SkyRL at 96f4cbf (Apache-2.0).
SHA256 = "5c2066af00c78ed7e4acfd3f321e451b957ff14e2491e404b7b24cd7a09dd211"
ORIGINAL = ROOT.parent / "shared" / "tutorial" / "TUTORIAL_SGLANG.md"
PART_3 = ROOT / "tests" / "unit" / "config" / "data" / "my_training_config.yaml"
OURS = 7


@pytest.fixture
def folder(tmp_path: Path, blocks) -> Path:
    """The folder of a reader who has saved the file of Part 3."""
    (tmp_path / f"{RUN_FILE}.yaml").write_text(blocks[OURS - 1].text)
    return tmp_path


def accepted(folder: Path, words: list[str]):
    """Load what a command says, as `tetrad plan` does, and do its arithmetic."""
    options = {"--config-path": None, "--config-name": None}
    words = list(words)
    for option in options:
        if option in words:
            place = words.index(option)
            options[option] = words[place + 1]
            del words[place : place + 2]
    loaded = load(
        words,
        config_path=options["--config-path"],
        config_name=options["--config-name"],
        environ={"HOME": str(folder)},
        cwd=folder,
    )
    assert render(plan(loaded.config, 7473))
    return loaded


def test_the_copy_is_the_original(page):
    assert hashlib.sha256(page.encode()).hexdigest() == SHA256
    if ORIGINAL.exists():
        assert ORIGINAL.read_text(encoding="utf-8") == page


def test_every_block_has_its_treatment(blocks):
    assert {block.number: block.first_line for block in blocks} == {
        number: treatment.begins for number, treatment in TREATMENTS.items()
    }


def test_whatever_is_not_run_has_a_reason():
    for number, treatment in TREATMENTS.items():
        assert treatment.note or treatment.kind is not Kind.NOT_RUN, number


def test_every_promise_is_looked_at():
    assert [promise.name for promise in PROMISES] == [f"T{number}" for number in range(1, 33)]


def test_the_file_of_part_3_is_that_of_the_other_tests(blocks):
    assert blocks[OURS - 1].text.encode() == PART_3.read_bytes()


@pytest.mark.parametrize("number", [n for n, one in TREATMENTS.items() if one.kind is Kind.TRAIN and n != 23])
def test_a_printed_command_is_accepted(blocks, folder, number):
    (words,) = overrides_of(blocks[number - 1].text)

    loaded = accepted(folder, words)

    assert loaded.config.environment.env_class == "gsm8k"


@pytest.mark.parametrize("number", [n for n, one in TREATMENTS.items() if one.kind is Kind.OVERLAY])
def test_a_printed_piece_of_a_run_file_is_accepted_on_top_of_part_3(blocks, folder, number):
    piece = blocks[number - 1].text
    (folder / "mine.yaml").write_text(f"defaults: [{RUN_FILE}, _self_]\n{piece}")

    loaded = accepted(folder, ["--config-path", ".", "--config-name", "mine"])

    for key in _leaves(yaml.safe_load(piece)):
        assert loaded.origins[ALIASES.get(key, key)].name == "mine.yaml", key


def test_the_words_of_part_8_are_accepted(blocks, folder):
    (number,) = (number for number, one in TREATMENTS.items() if one.kind is Kind.WORDS)

    loaded = accepted(folder, ["--config-path", ".", "--config-name", RUN_FILE, blocks[number - 1].text.strip()])

    assert loaded.config.generator.engine_init_kwargs["attention_backend"] == "flashinfer"


ALIASES = {"trainer.algorithm.lambda_": "trainer.algorithm.lambd"}


def _leaves(tree, prefix=""):
    """Return the keys of a piece."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{key}.")
        else:
            yield key
