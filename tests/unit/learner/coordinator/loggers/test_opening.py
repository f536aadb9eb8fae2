import sys

import pytest
from unit.learner.coordinator.loggers.test_tensorboard import scalars

from tetrad_config import load
from tetrad_config.loggers import PACKAGES
from tetrad_learner.coordinator.loggers.guarded import Failures
from tetrad_learner.coordinator.loggers.opening import POSTED, check_loggers, open_loggers
from tetrad_runtime.exits import ConfigFault, MachineFault
from tetrad_telemetry.metrics import Metrics


def a_config(loggers: str):
    return load(["+experiment=demo", f"trainer.logger={loggers}"], environ={}).config


def a_count() -> Failures:
    return Failures(Metrics("learner", version="1"))


def test_every_logger_that_is_a_package_of_others_can_be_opened() -> None:
    assert PACKAGES.keys() <= POSTED.keys()


def test_metrics_jsonl_is_there_whatever_else_is(tmp_path) -> None:
    opened = open_loggers(
        a_config("[]"), folder=tmp_path, run="demo-1", failures=Failures(Metrics("learner", version="1"))
    )

    (only,) = opened
    only.log(1, {"train/loss": 0.5})
    only.close()
    assert '"train/loss": 0.5' in (tmp_path / "metrics.jsonl").read_text()


def test_one_that_is_named_twice_is_opened_once(tmp_path) -> None:
    config = a_config("[tensorboard, console, tensorboard]")

    opened = open_loggers(config, folder=tmp_path, run="demo-1", failures=a_count())
    for logger in opened:
        logger.log(1, {"train/loss": 0.5})
        logger.close()

    assert len(opened) == 3
    assert scalars(tmp_path / "tensorboard") == [(1, "train/loss", 0.5)]


def test_a_missing_package_is_refused_with_the_command_that_installs_it(monkeypatch) -> None:
    for package in PACKAGES.values():
        monkeypatch.setitem(sys.modules, package, None)  # as Python itself marks what cannot be imported

    with pytest.raises(MachineFault) as caught:
        check_loggers(a_config("[console, wandb, trackio]"), {})

    assert str(caught.value).splitlines() == [
        "trainer.logger=wandb: it is not installed; run `pip install 'tetrad-learner[wandb]'`",
        "trainer.logger=trackio: it is not installed; run `pip install 'tetrad-learner[trackio]'`",
    ]


def test_wandb_that_must_be_online_without_a_key_is_refused(tmp_path) -> None:
    pytest.importorskip("wandb")
    nobody = {"HOME": str(tmp_path), "WANDB_MODE": "online"}

    with pytest.raises(ConfigFault, match="WANDB_MODE=online needs a key and there is none; set WANDB_API_KEY"):
        check_loggers(a_config("wandb"), nobody)

    check_loggers(a_config("wandb"), nobody | {"WANDB_API_KEY": "k" * 40})
    check_loggers(a_config("tensorboard"), nobody)
