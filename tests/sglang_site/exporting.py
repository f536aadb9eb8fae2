"""The other process whose GPU memory weights come from, seen from this one."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from tetrad_wire.messages.weights import DeviceHandle, Manifest

ANSWER_S = 60.0


class Exporter:
    """Offers weights by handle when it is told to; see `sglang_site.exporter`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def offer(self, seed: int, fault: str = "") -> tuple[Manifest, DeviceHandle]:
        from sglang_site.exporter import Export, Offer

        assert self.process.stdout is not None
        self.tell(msgspec.json.encode(Export(seed, fault)))
        line = await asyncio.wait_for(self.process.stdout.readline(), ANSWER_S)
        offer = msgspec.json.decode(line, type=Offer)
        return offer.manifest, offer.handle

    def tell(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")


@asynccontextmanager
async def an_exporter() -> AsyncIterator[Exporter]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sglang_site.exporter"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        env={**os.environ, "PYTHONPATH": f"tests:{os.environ.get('PYTHONPATH', '')}"},
    )
    try:
        yield Exporter(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
