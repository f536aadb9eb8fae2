"""Starts the broadcaster."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from tetrad_config.process import BroadcasterSettings
from tetrad_runtime.entry import Entry

ENTRY: Final = Entry(
    service="broadcaster",
    summary="Moves the newest policy version from the learner to every engine.",
    settings=BroadcasterSettings,
    serve="tetrad_broadcaster.service:run",
    check="tetrad_broadcaster.checking:check",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `tetrad-broadcaster`."""
    return ENTRY.main(sys.argv[1:] if argv is None else argv, os.environ)


if __name__ == "__main__":
    sys.exit(main())
