"""Starts the process that starts the trainer ranks of this host."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from tetrad_config.process import HostSettings
from tetrad_runtime.entry import Entry

ENTRY: Final = Entry(
    service="host",
    summary="Starts the trainer ranks of this host, where the learner runs on several.",
    settings=HostSettings,
    serve="tetrad_learner.host.service:serve_host",
    check="tetrad_learner.host.checking:check",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `tetrad-host`."""
    return ENTRY.main(sys.argv[1:] if argv is None else argv, os.environ)


if __name__ == "__main__":
    sys.exit(main())
