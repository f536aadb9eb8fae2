"""An engine in a process of its own, which serves version 1, stages version 2 and commits it when told.

    python -m sglang_site.engine_process FOLDER host|device

Weights come by the host, or from GPU memory of another process.
One line each: says `staged` and the pids of SGLang's processes, waits for a word, commits, says `committed`.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import numpy as np

from sglang_site.builders import IS_ON_GPU, weights
from sglang_site.exporting import Exporter, an_exporter
from sglang_site.servers import settings_of, start
from tetrad_rollout.engine.sglang.engine import SglangEngine
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.engine.update import switch_weights
from tetrad_wire.ids import PolicyVersion


async def stage_from_host(engine: SglangEngine, seed: int, *, version: int) -> str:
    manifest, source = weights(seed)
    np.copyto(engine.begin_stage(manifest, version=PolicyVersion(version)), source)
    await engine.verify_stage(digest=manifest.digest)
    return manifest.digest


async def stage_from_device(engine: SglangEngine, exporter: Exporter, seed: int, *, version: int) -> str:
    manifest, handle = await exporter.offer(seed)
    await engine.stage_from_device(handle, manifest, version=PolicyVersion(version))
    return manifest.digest


async def main() -> None:
    folder, way = Path(sys.argv[1]), sys.argv[2]
    server = start(folder)
    settings = settings_of(folder)
    served = ServedWeights(server, settings=settings, is_on_gpu=IS_ON_GPU)
    engine = SglangEngine(server, served, settings=settings, decode=None)
    async with AsyncExitStack() as stack:
        stage = stage_from_host
        if way == "device":
            stage = partial(stage_from_device, exporter=await stack.enter_async_context(an_exporter()))
        for version in (1, 2):
            digest = await stage(engine, seed=version, version=version)
            if version == 1:
                await switch_weights(engine, version=PolicyVersion(1), digest=digest)
        print("staged", *server.child_pids, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await switch_weights(engine, version=PolicyVersion(2), digest=digest)
        print("committed", flush=True)
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main())
