"""Starts the coordinator, which starts the trainer ranks."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from tetrad_config.process import CoordinatorSettings
from tetrad_runtime.entry import Entry

# What is under way is given up, but what was promised must reach the disk.
DRAIN_TIMEOUT_S: Final = 60.0

ENTRY: Final = Entry(
    service="learner",
    summary="Coordinates the run and trains: ledger, leases, evaluation, checkpoints, and the trainer ranks.",
    settings=CoordinatorSettings,
    serve="tetrad_learner.coordinator.compose:serve_coordinator",
    check="tetrad_learner.coordinator.checking:check",
    drain_timeout_s=DRAIN_TIMEOUT_S,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `tetrad-learner`."""
    return ENTRY.main(sys.argv[1:] if argv is None else argv, os.environ)


if __name__ == "__main__":
    sys.exit(main())
