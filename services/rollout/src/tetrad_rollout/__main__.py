"""Starts a rollout replica."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from tetrad_config.process import RolloutSettings
from tetrad_runtime.entry import Entry

ENTRY: Final = Entry(
    service="rollout",
    summary="Generates samples: one inference engine, and the episodes that it plays.",
    settings=RolloutSettings,
    serve="tetrad_rollout.compose:serve_rollout",
    check="tetrad_rollout.checking:check",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `tetrad-rollout`."""
    return ENTRY.main(sys.argv[1:] if argv is None else argv, os.environ)


if __name__ == "__main__":
    sys.exit(main())
