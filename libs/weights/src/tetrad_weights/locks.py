"""Locks on files in memory, kept by the kernel and dropped by it when their holder dies."""

import fcntl


def try_lock(descriptor: int, kind: int) -> bool:
    """Take `fcntl.LOCK_SH` or `LOCK_EX` at once, or return False. It ends with the last duplicate of the descriptor."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Give the lock back."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
