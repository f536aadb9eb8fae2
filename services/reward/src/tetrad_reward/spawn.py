"""Starts the process of a worker: its own group, its end of a pipe, and no life beyond the replica's."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

from tetrad_runtime.orphans import die_with_parent


async def spawn(address_space_bytes: int) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """Start one; returns the process, which leads a process group, and our end of its pipe."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            return await _started(theirs, address_space_bytes), ours
    except BaseException:
        ours.close()
        raise


async def _started(pipe: socket.socket, address_space_bytes: int) -> asyncio.subprocess.Process:
    starting = asyncio.ensure_future(_start(pipe, address_space_bytes))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Seen through to its end: a process that is half started would be nobody's to reap.
        process = await starting
        process.kill()
        await process.wait()
        raise


async def _start(pipe: socket.socket, address_space_bytes: int) -> asyncio.subprocess.Process:
    descriptor = pipe.fileno()
    # One BLAS thread: graders that need numpy's threads are rare, and each thread reserves address space.
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "tetrad_reward.child", str(descriptor), str(address_space_bytes)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(descriptor,),
        process_group=0,
        preexec_fn=die_with_parent(signal.SIGKILL),
        env=environment,
    )
