"""Loggers that are packages of others: which one each needs, and the command that installs it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from tetrad_config.run import RunConfig
from tetrad_config.trainer import Logger

PACKAGES: Final[Mapping[Logger, str]] = {
    Logger.WANDB: "wandb",
    Logger.MLFLOW: "mlflow",
    Logger.TRACKIO: "trackio",
}
"""Import package of each; the extra of tetrad-learner has the logger's name."""


def missing_loggers(config: RunConfig) -> tuple[Logger, ...]:
    """Return the loggers that `config` asks for and whose package is not installed, in order."""
    asked = dict.fromkeys(config.trainer.logger)
    return tuple(one for one in asked if one in PACKAGES and not _is_installed(PACKAGES[one]))


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # somebody has marked it as one that cannot be imported
        return False


def install_command(logger: Logger) -> str:
    """Return what installs a logger.

    >>> install_command(Logger.WANDB)
    "pip install 'tetrad-learner[wandb]'"
    """
    return f"pip install 'tetrad-learner[{logger}]'"
