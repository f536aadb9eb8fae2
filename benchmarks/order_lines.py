"""Orders to a process of a benchmark and its answers: a line of JSON each, over its standard input and output."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tetrad_runtime.orphans import die_with_parent

ANSWER: Final = "answer "
"""Begins our lines: engines write lines of their own to standard output."""
GRACE_S: Final = 25.0
MAX_LINE: Final = 1 << 24
LOG_END: Final = 3000
Order = dict[str, Any]


def say(answer: Mapping[str, object]) -> None:
    """Answer, in the process that was asked."""
    print(f"\n{ANSWER}{json.dumps(answer)}", flush=True)


async def orders() -> AsyncIterator[Order]:
    """Yield what the process is told, until its standard input ends; the event loop goes on meanwhile."""
    reader = asyncio.StreamReader(limit=MAX_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield json.loads(line)


class ChildError(Exception):
    """The process has ended without an answer, or was late."""


class Child:
    """A process that takes orders."""

    def __init__(self, name: str, command: Sequence[str | Path], *, log: Path) -> None:
        self.name, self._command, self._log = name, command, log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, timeout_s: float, environment: Mapping[str, str] | None = None) -> Order:
        """Start it; return the first thing that it says."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self._command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                limit=MAX_LINE,
                preexec_fn=die_with_parent(),
            )
        return await self._answer(timeout_s)

    async def ask(self, order: Mapping[str, object], *, timeout_s: float) -> Order:
        """Give an order and wait for its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return await self._answer(timeout_s)

    async def close(self) -> None:
        """Let it end; kill it where it does not."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(GRACE_S):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _answer(self, timeout_s: float) -> Order:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                async for line in self._process.stdout:
                    if line.startswith(ANSWER.encode()):
                        answer: Order = json.loads(line.removeprefix(ANSWER.encode()))
                        return answer
                what = f"ended with code {await self._process.wait()}"
        except TimeoutError:
            what = f"did not answer within {timeout_s:g} s"
        log = self._log.read_text(encoding="utf-8", errors="replace")
        raise ChildError(f"{self.name} {what}:\n{log[-LOG_END:]}")
