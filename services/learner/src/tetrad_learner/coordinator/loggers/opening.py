"""Which loggers a run has, and whether they can be had: looked at before anything starts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tetrad_config import RunConfig
from tetrad_config.loggers import install_command, missing_loggers
from tetrad_config.trainer import Logger
from tetrad_learner.coordinator.loggers.console import Console
from tetrad_learner.coordinator.loggers.guarded import Failures, Guarded, LoggerName
from tetrad_learner.coordinator.loggers.json_lines import JsonLines
from tetrad_learner.coordinator.loggers.logger import MetricLogger, RunFile
from tetrad_learner.coordinator.loggers.mlflow_run import MlflowRun
from tetrad_learner.coordinator.loggers.posted import Posted
from tetrad_learner.coordinator.loggers.tensorboard import TensorBoard
from tetrad_learner.coordinator.loggers.trackio_run import TrackioRun
from tetrad_learner.coordinator.loggers.weights_and_biases import MODE, WeightsAndBiases, wants_key
from tetrad_runtime.exits import ConfigFault, MachineFault

METRICS: Final = "metrics.jsonl"

POSTED: Final[Mapping[Logger, Callable[[RunFile], MetricLogger]]] = {
    Logger.TENSORBOARD: lambda run: TensorBoard(run.folder / "tensorboard"),
    Logger.WANDB: WeightsAndBiases,
    Logger.MLFLOW: MlflowRun,
    Logger.TRACKIO: TrackioRun,
}
"""Loggers that have a thread of their own."""


def check_loggers(config: RunConfig, environ: Mapping[str, str]) -> None:
    """Raise MachineFault where a logger's package is missing, ConfigFault where it would have to ask for a key."""
    missing = missing_loggers(config)
    if missing:
        raise MachineFault(
            "\n".join(f"trainer.logger={one}: it is not installed; run `{install_command(one)}`" for one in missing)
        )
    if Logger.WANDB in config.trainer.logger and wants_key(environ):
        raise ConfigFault(
            f"trainer.logger=wandb: {MODE}={environ[MODE]} needs a key and there is none; set WANDB_API_KEY or run "
            f"`wandb login`, or set {MODE}=offline"
        )


def open_loggers(config: RunConfig, *, folder: Path, run: str, failures: Failures) -> list[MetricLogger]:
    """Open every logger of the run; those of others open in their threads."""
    trainer = config.trainer
    about = RunFile(
        project=trainer.project_name,
        name=trainer.run_name,
        run=run,
        folder=folder,
        config=config.model_dump(mode="json"),
    )
    loggers: list[MetricLogger] = [Guarded(LoggerName.JSON_LINES, JsonLines(folder / METRICS), failures)]
    if Logger.CONSOLE in trainer.logger:
        loggers.append(Console())
    loggers += [_posted(one, about, failures) for one in dict.fromkeys(trainer.logger) if one in POSTED]
    return loggers


def _posted(logger: Logger, about: RunFile, failures: Failures) -> Posted:
    return Posted(LoggerName(logger.value), lambda: POSTED[logger](about), failures)
