"""The folder of a run: its paths, its lock, and how it is opened again."""

import fcntl
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from tetrad_config import RunConfig
from tetrad_config.trainer import ResumeMode
from tetrad_learner.coordinator.checkpoints import LEDGER, Checkpoints
from tetrad_learner.coordinator.store import LedgerError, Store
from tetrad_runtime.exits import ConfigFault, RunBusy
from tetrad_telemetry.logs import get_logger
from tetrad_trajectories.checkpoint import verify
from tetrad_trajectories.errors import CheckpointError

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where the parts of a run lie."""

    path: Path

    @property
    def ledger(self) -> Path:
        """The database."""
        return self.path / LEDGER

    @property
    def journal(self) -> Path:
        """The batches of sealed steps."""
        return self.path / "journal"

    def lock(self) -> int:
        """Hold the ledger's lock for the life of the process; raise RunBusy if another coordinator has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self.path / "coordinator.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise RunBusy(f"another coordinator runs on {self.path}; end it first with `tetrad down`") from None
            if os.fstat(descriptor).st_nlink:
                return descriptor
            # A launcher that ended has removed the file between the two calls: it would keep nobody out.
            os.close(descriptor)


def open_ledger(folder: RunFolder, config: RunConfig, checkpoints: Checkpoints) -> Store:
    """Open the run's ledger: the one that is there, that of a checkpoint, or a new one.

    Raises ConfigFault where the resume settings do not fit what is on disk.
    """
    folder.journal.mkdir(parents=True, exist_ok=True)
    origin = None if folder.ledger.exists() else _origin(config, checkpoints)
    new_run = f"{config.trainer.run_name}-{secrets.token_hex(4)}"
    try:
        if origin is not None:
            is_other_run = config.trainer.resume_mode is ResumeMode.FROM_PATH
            _fork(origin, folder.ledger, run=new_run if is_other_run else None)
        store = Store(folder.ledger)
    except LedgerError as error:
        raise ConfigFault(str(error)) from error
    if store.meta("run") is None:
        store.set_meta("secret", secrets.token_hex(16))
        store.set_meta("run", new_run)
    return store


def _fork(origin: Path, ledger: Path, *, run: str | None) -> None:
    """Make the ledger of a checkpoint that of this folder, whole or not at all; `run` is its new name, if any."""
    try:
        manifest = verify(origin)
    except CheckpointError as error:
        raise ConfigFault(f"trainer.resume_path: {error}; choose another checkpoint") from error
    draft = ledger.with_name(f".{ledger.name}.fork")
    for leftover in ledger.parent.glob(f"{draft.name}*"):
        leftover.unlink()
    shutil.copy2(origin / LEDGER, draft)
    store = Store(draft)
    store.abandon_work_after(int(str(manifest["step"])))
    store.set_meta("origin", str(origin))
    # Leases of the old run mean nothing here, even where tokens repeat.
    store.set_meta("secret", secrets.token_hex(16))
    if run is not None:
        store.set_meta("run", run)
    store.close()
    # What a lost ledger left behind would be taken for the new one's.
    for leftover in ledger.parent.glob(f"{ledger.name}-*"):
        leftover.unlink()
    draft.replace(ledger)
    log.info("run_forked", checkpoint=str(origin))


def _newest_whole(checkpoints: Checkpoints) -> Path | None:
    """The newest checkpoint that is as it was written; damaged ones are set aside."""
    while (newest := checkpoints.newest()) is not None:
        if (reason := checkpoints.refuse_damaged(newest)) is None:
            return newest.folder
        log.error("checkpoint_refused", reason=reason)
    return None


def check_same_run(store: Store, *, key: str, value: str, what: str) -> None:
    """Keep a property of the run; raise ConfigFault if the run was begun with another."""
    known = store.meta(key)
    if known is None:
        store.set_meta(key, value)
    elif known != value:
        raise ConfigFault(
            f"{what} is {value}, but the run was begun with {known}; use another trainer.run_name, "
            "or trainer.resume_mode=none trainer.overwrite=true to begin again"
        )


def _origin(config: RunConfig, checkpoints: Checkpoints) -> Path | None:
    if config.trainer.epochs == 0:
        return None  # evaluation alone judges the model that is named, and goes on with nothing
    match config.trainer.resume_mode:
        case ResumeMode.FROM_PATH:
            if config.trainer.resume_path is None:
                raise ConfigFault("trainer.resume_mode=from_path needs trainer.resume_path=…/global_step_N")
            return config.trainer.resume_path
        case ResumeMode.LATEST:
            return _newest_whole(checkpoints)
        case ResumeMode.NONE:
            return None
