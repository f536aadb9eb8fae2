"""Ties the life of a child process to its parent's (Linux).

Owns nothing. The C library is loaded before any fork: loading it in the child of a threaded parent can deadlock.
"""

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
EXIT_ORPHANED: Final = 69


def die_with_parent(signal_number: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """Return a `preexec_fn`: the child gets the signal when the *thread* that started it ends.

    Reaches direct children only, and nothing happens on other systems than Linux. Start such children from the
    main thread; a worker thread that ends would take them along.
    """
    prctl, parent = _prctl(), os.getpid()

    def in_child() -> None:
        if prctl is None:
            return
        prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        # The parent may have died before the line above took effect; then no signal will ever come.
        if os.getppid() != parent:
            os._exit(EXIT_ORPHANED)

    return in_child


def follow_parent(signal_number: signal.Signals = signal.SIGKILL) -> None:
    """Have this process get the signal when the thread that started it ends; for a child that nobody prepared."""
    prctl = _prctl()
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)


def adopt_orphans() -> bool:
    """Make this process the parent of every descendant whose own parent dies; False where not supported."""
    prctl = _prctl()
    return prctl is not None and prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


@functools.cache
def _prctl() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    function: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    return function
