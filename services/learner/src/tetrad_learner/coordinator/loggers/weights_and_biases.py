"""Weights & Biases: the run under the ledger's id, online where there is a key, else on this disk.

The only importer of wandb. Nothing here ever asks on a terminal.
"""

import hashlib
import logging
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from tetrad_learner.coordinator.loggers.logger import RunFile
from tetrad_learner.coordinator.sample_table import COLUMNS, TableRow
from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)

MODE: Final = "WANDB_MODE"
KEYS: Final = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
# Modes that speak to a server.
ONLINE: Final = ("online", "run", "shared")
SERVER: Final = "https://api.wandb.ai"
MAX_ID: Final = 64
# Records wait meanwhile; afterwards the run is kept on this disk.
INIT_S: Final = 30.0
STEP: Final = "trainer/global_step"


class WeightsAndBiases:
    """One W&B run; its folder is `wandb` in the run's."""

    def __init__(self, run: RunFile, *, init_s: float = INIT_S) -> None:
        import wandb

        # It tells every step of its own, with the whole configuration.
        logging.getLogger("wandb").setLevel(logging.WARNING)
        self._wandb, self._init_s = wandb, init_s
        if mode_without_key(os.environ) is None:
            self._run: Any = self._online(run)
        else:
            self._run = self._offline(run, reason=f"there is neither a key nor {MODE}")
        # Not W&B's own step, which must not fall: an evaluation may come after the step that followed it.
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log one record."""
        self._run.log({STEP: step, **metrics})

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        """Log the table."""
        table = self._wandb.Table(columns=list(COLUMNS), data=[list(row.cells) for row in rows])
        self._run.log({STEP: step, "samples": table})

    def close(self) -> None:
        """Upload what is left, and wait for the process that writes it: in a container it would end with this one."""
        self._run.finish()
        self._wandb.teardown()

    def _online(self, run: RunFile) -> Any:
        """Open the run as the environment says, or on this disk where the server is away or refuses it."""
        try:
            return self._init(run, mode=None)
        except self._wandb.Error as error:
            # Its service still holds the id of the run that it could not open.
            self._wandb.teardown()
            return self._offline(run, reason=f"{type(error).__name__}: {error}")

    def _offline(self, run: RunFile, *, reason: str) -> Any:
        upload = f"wandb sync {run.folder / 'wandb'}/offline-run-*"
        log.warning("wandb_is_offline", reason=reason, upload=upload)
        return self._init(run, mode="offline")

    def _init(self, run: RunFile, *, mode: Literal["offline"] | None) -> Any:
        return self._wandb.init(
            project=run.project,
            name=run.name,
            id=run_id(run.run),
            resume="allow",
            dir=str(run.folder),
            config=run.config,
            mode=mode,
            settings=self._wandb.Settings(silent=True, console="off", init_timeout=self._init_s),
        )


def mode_without_key(environ: Mapping[str, str]) -> Literal["offline"] | None:
    """Return `offline` where W&B would have to ask for a key, None where it knows what to do."""
    return None if environ.get(MODE) or has_key(environ) else "offline"


def wants_key(environ: Mapping[str, str]) -> bool:
    """Whether the environment insists on a server and names no key for it."""
    return environ.get(MODE, "").lower() in ONLINE and not has_key(environ)


def has_key(environ: Mapping[str, str]) -> bool:
    """Whether a key is in the environment, or in the netrc file that `wandb login` writes."""
    if any(environ.get(name) for name in KEYS):
        return True
    host = urlsplit(environ.get("WANDB_BASE_URL") or SERVER).hostname or ""
    home = Path(environ.get("HOME") or Path.home())
    named = environ.get("NETRC")
    return any(_knows(file, host) for file in ([Path(named)] if named else [home / ".netrc", home / "_netrc"]))


def _knows(file: Path, host: str) -> bool:
    try:
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def run_id(run: str) -> str:
    """Return an id that W&B takes: the ledger's, or a digest of one that is too long.

    >>> run_id("demo-1a2b3c4d"), len(run_id("x" * 100))
    ('demo-1a2b3c4d', 32)
    """
    return run if len(run) <= MAX_ID else hashlib.blake2b(run.encode(), digest_size=16).hexdigest()
