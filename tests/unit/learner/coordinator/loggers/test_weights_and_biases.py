"""The real wandb, offline: what it writes under the run's folder."""

import json
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from unit.learner.coordinator.loggers.logger_builders import a_row, a_run_file

from tetrad_learner.coordinator.loggers.weights_and_biases import (
    WeightsAndBiases,
    has_key,
    mode_without_key,
    run_id,
    wants_key,
)

wandb = pytest.importorskip("wandb")


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    """No key, no mode and no settings of whoever runs the tests."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "WANDB_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(home))
    wandb.teardown()
    yield
    wandb.teardown()


def offline_runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def written(run: Path) -> bytes:
    (file,) = run.glob("run-*.wandb")
    return file.read_bytes()


@pytest.mark.usefixtures("no_account")
def test_offline_it_writes_metrics_configuration_and_samples_under_the_runs_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = WeightsAndBiases(a_run_file(tmp_path))

    logger.log(1, {"train/mean_reward": 0.5})
    logger.log_samples(1, [a_row(response="four", advantage=None)])
    logger.close()

    (run,) = offline_runs(tmp_path)
    assert run.name.endswith("-demo-1a2b3c4d")
    for said in (b"tetrad-tests", b"train/mean_reward", b"train_batch_size", b"trainer/global_step"):
        assert said in written(run)
    (table,) = run.glob("files/media/table/samples_*.table.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["draw", "sample", "prompt", "response", "reward", "advantage"]
    assert content["data"] == [[3, 1, "user: 2 + 2?", "four", 1.0, None]]


@pytest.mark.usefixtures("no_account")
def test_without_key_and_mode_it_is_offline_and_says_how_to_upload(tmp_path) -> None:
    with capture_logs() as told:
        logger = WeightsAndBiases(a_run_file(tmp_path))
    logger.close()

    assert len(offline_runs(tmp_path)) == 1
    (line,) = told
    assert line["event"] == "wandb_is_offline"
    assert line["upload"].startswith("wandb sync")


@pytest.mark.usefixtures("no_account")
def test_a_server_that_cannot_be_reached_leaves_the_run_on_this_disk(tmp_path, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody listens there once it is closed
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)

    with capture_logs() as told:
        logger = WeightsAndBiases(a_run_file(tmp_path), init_s=2.0)
    logger.log(1, {"train/mean_reward": 0.5})
    logger.close()

    (line,) = told
    assert line["event"] == "wandb_is_offline"
    assert line["reason"].startswith("CommError")
    (run,) = offline_runs(tmp_path)
    assert b"train/mean_reward" in written(run)


@pytest.mark.usefixtures("no_account")
def test_a_run_that_goes_on_is_the_same_run(tmp_path) -> None:
    for step in (1, 2):
        logger = WeightsAndBiases(a_run_file(tmp_path))
        logger.log(step, {"train/mean_reward": 0.5})
        logger.close()

    ids = {file.name for run in offline_runs(tmp_path) for file in run.glob("run-*.wandb")}
    assert ids == {"run-demo-1a2b3c4d.wandb"}


def test_a_key_is_found_in_the_environment_and_in_netrc(tmp_path) -> None:
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password " + "k" * 40)
    mine = {"HOME": str(tmp_path / "elsewhere")}

    assert not has_key(mine)
    assert has_key(mine | {"WANDB_API_KEY": "k" * 40})
    assert has_key(mine | {"NETRC": str(tmp_path / ".netrc")})
    assert has_key({"HOME": str(tmp_path)})
    assert not has_key({"HOME": str(tmp_path), "WANDB_BASE_URL": "https://wandb.example"})


def test_a_mode_is_obeyed_and_without_one_a_key_decides(tmp_path) -> None:
    nobody = {"HOME": str(tmp_path)}

    assert mode_without_key(nobody) == "offline"
    assert mode_without_key(nobody | {"WANDB_API_KEY": "k" * 40}) is None
    assert mode_without_key(nobody | {"WANDB_MODE": "disabled"}) is None
    assert [wants_key(nobody | {"WANDB_MODE": mode}) for mode in ("online", "offline")] == [True, False]
    assert not wants_key(nobody)


def test_an_id_has_at_most_64_characters_and_differs_between_runs() -> None:
    long = ["x" * 128 + "-1", "x" * 128 + "-2"]

    assert len({run_id(run) for run in long}) == 2
    assert all(len(run_id(run)) <= 64 for run in long)
