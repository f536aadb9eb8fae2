"""Starts a reward replica."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from tetrad_config.process import RewardSettings
from tetrad_runtime.entry import Entry

ENTRY: Final = Entry(
    service="reward",
    summary="Grades the turns of rollouts: environments and reward functions in worker processes.",
    settings=RewardSettings,
    serve="tetrad_reward.compose:serve_reward",
    check="tetrad_reward.check:check",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `tetrad-reward`."""
    return ENTRY.main(sys.argv[1:] if argv is None else argv, os.environ)


if __name__ == "__main__":
    sys.exit(main())
