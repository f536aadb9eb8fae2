"""Outlives the launcher, and kills what a killed launcher leaves behind.

Reads `+pid` and `-pid` lines from standard input; `bye` means that all is well. At the end of input without it the
launcher died: the leaders have had SIGTERM from the kernel (PR_SET_PDEATHSIG), and each group goes when its leader has,
at the latest after the grace. Standard library only; must not know roles.
"""

import signal
import sys
import time
from collections.abc import Iterable
from typing import Final

from tetrad_cli.launch.proc import RUN_MARK, kill, kill_group, marked, start_ticks

POLL_S: Final = 0.05


def main(argv: list[str]) -> int:
    """Guard until the launcher ends; `argv` is the run directory and the grace in seconds."""
    run_dir, grace_s = argv[0], float(argv[1])
    # The terminal's signals are for the launcher; we end when it has ended.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = watch(sys.stdin)
    if groups is not None:
        clean_up(groups, deadline=time.monotonic() + grace_s)
        for pid in marked(**{RUN_MARK: run_dir}):
            kill(pid, signal.SIGKILL)
    return 0


def watch(lines: Iterable[str]) -> set[int] | None:
    """Return the group leaders alive when the input ended; None after a `bye`."""
    leaders: set[int] = set()
    for line in lines:
        if line == "bye\n":
            return None
        change = leaders.add if line[0] == "+" else leaders.discard
        change(int(line[1:]))
    return leaders


def clean_up(leaders: set[int], *, deadline: float) -> None:
    """Kill each group once its leader is gone, and all at the deadline (monotonic seconds)."""
    left = set(leaders)
    while left:
        is_over = time.monotonic() >= deadline
        for pid in [pid for pid in left if is_over or start_ticks(pid) is None]:
            kill_group(pid, signal.SIGKILL)
            left.discard(pid)
        if left:
            time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
