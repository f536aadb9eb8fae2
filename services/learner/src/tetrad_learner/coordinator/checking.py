"""`--check`: whether the learner could run here. Looks at files; opens no ledger and loads no torch."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from tetrad_config import CoordinatorSettings, RunConfig
from tetrad_config.machine_facts import files_read, models_loaded
from tetrad_learner.coordinator.loggers.opening import check_loggers
from tetrad_runtime.exits import ConfigFault, ExitCode, MachineFault
from tetrad_runtime.wiring import check_wiring
from tetrad_transport.keys import KeyRole


def check(settings: CoordinatorSettings, config: RunConfig) -> int:
    """Say what was found; raises ConfigFault for what the user wrote, MachineFault for what the machine lacks."""
    check_wiring(settings, KeyRole.COORDINATOR)
    missing = [f"{key}: there is no {name}" for key, name in _named(config) if not Path(name).exists()]
    if missing:
        raise ConfigFault("\n".join(missing))
    check_loggers(config, os.environ)
    check_writable(settings.run_dir)
    num_files = sum(len(files) for files in files_read(config).values())
    print(f"ok: {settings.name} trains {config.trainer.policy.model.path} on {num_files} files in {settings.run_dir}")
    return ExitCode.OK


def check_writable(folder: Path) -> None:
    """Raise MachineFault unless `folder`, or the nearest folder above it that exists, can be written to."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        # By doing it: permissions alone say little of read-only and special file systems. It has no name to be left.
        with TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise MachineFault(f"{folder}: {place} cannot be written to ({error.strerror}); set trainer.run_dir") from error


def _named(config: RunConfig) -> list[tuple[str, str]]:
    files = [(key, name) for key, names in files_read(config).items() for name in names]
    return [*models_loaded(config).items(), *files]
