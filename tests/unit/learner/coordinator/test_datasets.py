"""Which files a run reads, and which names they may have."""

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tetrad_config import load
from tetrad_learner.coordinator.compose import read_datasets
from tetrad_runtime.exits import ConfigFault, DataFault


def a_file(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    row = {"prompt": [{"role": "user", "content": "1+1="}], "reward_spec": {"ground_truth": "2"}}
    (folder / name).write_text(json.dumps(row) + "\n")
    return folder / name


def datasets_of(*files: Path, overrides=()):
    listed = ", ".join(map(str, files))
    return read_datasets(load(["+experiment=demo", f"data.val_data=[{listed}]", *overrides], environ={}).config)


def test_each_file_of_evaluation_is_a_dataset_of_its_name(tmp_path):
    _, evaluation = datasets_of(a_file(tmp_path, "easy.jsonl"), a_file(tmp_path, "hard.jsonl"))

    assert [(name, len(dataset)) for name, dataset in evaluation] == [("easy", 1), ("hard", 1)]


def test_evaluation_alone_needs_no_training_data(tmp_path):
    training, _ = datasets_of(
        a_file(tmp_path, "easy.jsonl"), overrides=("trainer.epochs=0", "data.train_data=/gone.jsonl")
    )

    assert training is None


def test_a_file_may_not_be_named_as_the_scores_over_all_are(tmp_path):
    with pytest.raises(ConfigFault, match="'all' is the name of the scores over all files"):
        datasets_of(a_file(tmp_path, "all.jsonl"))


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(ConfigFault, match="are not different"):
        datasets_of(a_file(tmp_path / "a", "easy.jsonl"), a_file(tmp_path / "b", "easy.jsonl"))


def test_an_empty_file_of_training_data_is_named_and_the_others_are_trained_on(tmp_path):
    full, empty = a_file(tmp_path, "full.jsonl"), tmp_path / "empty.jsonl"
    empty.touch()

    with capture_logs() as told:
        training, _ = datasets_of(
            a_file(tmp_path, "easy.jsonl"), overrides=(f"data.train_data=[{empty},{full},{empty}]",)
        )

    assert training is not None
    assert len(training) == 1
    assert [(line["event"], line["file"]) for line in told] == [("training_file_empty", str(empty))] * 2


def test_training_data_without_a_row_is_refused_by_the_names_of_its_files(tmp_path):
    empty = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file in empty:
        file.touch()

    with pytest.raises(DataFault, match=r"no rows in .*a\.jsonl, .*b\.jsonl"):
        datasets_of(a_file(tmp_path, "easy.jsonl"), overrides=(f"data.train_data=[{empty[0]},{empty[1]}]",))
