"""SGLang killed between stage and commit: the process around it ends, so that nobody is told of a commit."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from sglang_site.builders import IS_ON_GPU

pytestmark = [pytest.mark.sglang, pytest.mark.asyncio(loop_scope="session")]

START_S = 180.0
END_S = 60.0


@pytest.mark.parametrize(
    "way",
    [
        "host",
        pytest.param(
            "device",
            marks=[pytest.mark.gpu, pytest.mark.skipif(not IS_ON_GPU, reason="weights in GPU memory need a GPU")],
        ),
    ],
)
@pytest.mark.parametrize("is_killed", [False, True], ids=["left alone", "killed"])
async def test_a_version_is_committed_by_a_living_scheduler_or_not_at_all(
    folder: Path, way: str, *, is_killed: bool
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sglang_site.engine_process", folder, way),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"tests:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pids = await asyncio.wait_for(heard(process.stdout, "staged"), START_S)
        if is_killed:
            os.kill(int(pids[0]), signal.SIGKILL)
        process.stdin.write(b"commit\n")
        await asyncio.wait_for(process.wait(), END_S)
        rest = (await process.stdout.read()).decode()
    finally:
        if process.returncode is None:
            process.kill()

    assert ("committed" in rest, process.returncode == 0) == (not is_killed, not is_killed)


async def heard(stream: asyncio.StreamReader, word: str) -> list[str]:
    """What follows the word; SGLang prints lines of its own."""
    while line := await stream.readline():
        first, *others = line.decode().split() or [""]
        if first == word:
            return others
    raise AssertionError(f"the process ended and did not say {word}")
