"""The engine of `weight_sync_gpu.py`: a real engine that fetches a version and switches to it, each part timed.

    python benchmarks/weight_sync_engine.py CONFIG BROADCASTER_ENDPOINT memory|nccl

Orders: `sync` to a version, `score` a prompt, `held` to digest what the engine computes with, `load` with running
samples, `unload`.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from order_lines import Order, orders, say

from tetrad_config import load_resolved
from tetrad_config.generator import Backend
from tetrad_rollout.engine.catalog import create_engine
from tetrad_rollout.engine.protocol import Engine, GeneratedSample, GenerationRequest, RequestId, Sampling
from tetrad_rollout.engine.update import switch_weights
from tetrad_rollout.engine_settings import engine_settings
from tetrad_rollout.weights.receiver import PREFERRED, WeightReceiver
from tetrad_telemetry.logs import configure
from tetrad_transport import ZmqTransport
from tetrad_transport.membership import new_incarnation
from tetrad_weights import Bytes
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import DeviceHandle, Manifest, WeightTransport

TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.01
PROMPT_LENGTH: Final = 64


class TimedEngine:
    """An engine with a stopwatch around what a change of weights calls; all else is the engine's own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seconds: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def stage_from_device(
        self, handle: DeviceHandle, manifest: Manifest, *, version: PolicyVersion, others: Sequence[DeviceHandle] = ()
    ) -> None:
        """As the engine does."""
        with self._timed("stage"):
            await self._engine.stage_from_device(handle, manifest, version=version, others=others)

    async def pause(self, *arguments: Any) -> None:
        """As the engine does."""
        with self._timed("stop"):
            await self._engine.pause(*arguments)

    async def commit(self, **arguments: Any) -> Any:
        """As the engine does."""
        with self._timed("commit"):
            report = await self._engine.commit(**arguments)
        self.seconds["flush"] = report.flush_s
        self.seconds["load"] = self.seconds["commit"] - report.flush_s
        return report

    async def probe(self, *arguments: Any) -> Any:
        """As the engine does."""
        with self._timed("probe"):
            return await self._engine.probe(*arguments)

    async def resume(self) -> None:
        """As the engine does."""
        with self._timed("resume"):
            await self._engine.resume()

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[part] = time.monotonic() - started


class Replica:
    """What a rollout replica does with new weights, told when by orders instead of a coordinator."""

    def __init__(
        self, engine: Engine, broadcaster: str, transport: ZmqTransport, *, over: str, is_sglang: bool
    ) -> None:
        self._engine = TimedEngine(engine)
        self._is_sglang = is_sglang
        self._receiver = WeightReceiver(
            transport.connect(broadcaster, name="rollout-0"),
            incarnation=new_incarnation(),
            replica="rollout-0",
            timeout_s=TIMEOUT_S,
            transports=(WeightTransport.NCCL,) if over == "nccl" else PREFERRED,
            gpu=engine.gpu,
        )
        self._running: asyncio.Task[list[GeneratedSample]] | None = None
        self._num_scores = 0

    async def sync(self, version: PolicyVersion) -> Order:
        """Fetch, stage, switch, as the weight keeper does; seconds of each part."""
        engine, is_on_device = self._engine, False
        engine.seconds.clear()
        began = time.monotonic()

        def stage(manifest: Manifest) -> Bytes:
            return engine.begin_stage(manifest, version=version)

        async def stage_from_device(manifest: Manifest, device: DeviceHandle, others: Sequence[DeviceHandle]) -> None:
            nonlocal is_on_device
            await engine.stage_from_device(device, manifest, version=version, others=others)
            is_on_device = True

        manifest = await self._receiver.fetch(version, stage, stage_from_device)
        if not is_on_device:
            await engine.verify_stage(digest=manifest.digest, found=manifest.digest)
        staged = time.monotonic()
        await switch_weights(engine, version=version, digest=manifest.digest)
        ended = time.monotonic()
        fetch_s = staged - began
        found = self._receiver.statistics()
        staging_s = engine.seconds.setdefault("stage", found.last_copy_s - found.last_receive_s)
        return {
            "began": began,
            "ended": ended,
            "pull": max(0.0, fetch_s - found.last_receive_s - staging_s),
            "pause": ended - staged,
            "transport": found.last_transport.value if found.last_transport else "",
            "receive": found.last_receive_s,
            **engine.seconds,
        }

    async def score(self, ids: list[int]) -> Order:
        """Log-probs of a prompt's tokens but the first; none where the engine cannot tell."""
        if not self._is_sglang:
            return {"logprobs": []}
        self._num_scores += 1
        logprobs: list[float] = []
        async for _chunk, meta in self._engine._server.generate(
            rid=f"score-{self._num_scores:010d}",
            input_ids=ids,
            sampling={"max_new_tokens": 1, "temperature": 0.0, "ignore_eos": True},
            salt=f"score-{self._num_scores}",
            prompt_logprobs=True,
        ):
            if meta["finish_reason"] is not None:
                logprobs = [entry[0] for entry in meta["input_token_logprobs"][1:]]
        return {"logprobs": logprobs}

    async def held(self) -> Order:
        """Seconds to digest, and bring here, what the engine computes with: most of what a probe takes."""
        started = time.monotonic()
        await self._engine.weights_digest()
        return {"held": time.monotonic() - started}

    async def load(self, num_samples: int, num_tokens: int) -> Order:
        """Keep so many samples running, and return once they do."""
        request = GenerationRequest(
            request_id=RequestId("load"),
            prompt_ids=np.arange(3, 3 + PROMPT_LENGTH, dtype=np.int32),
            seeds=tuple(range(num_samples)),
            sampling=Sampling(max_new_tokens=num_tokens, ignore_eos=True),
        )
        self._running = asyncio.create_task(self._engine.generate(request))
        while self._num_running() < num_samples and not self._running.done():  # noqa: ASYNC110 - engines tell nobody
            await asyncio.sleep(POLL_S)
        return {"running": self._num_running()}

    async def unload(self) -> Order:
        """End them; how many versions drew each, at most."""
        assert self._running is not None
        await self._engine.abort(RequestId("load"))
        samples = await self._running
        return {"most_spans": max(len(sample.spans) for sample in samples)}

    def _num_running(self) -> int:
        return int(self._engine.statistics().running_samples)

    async def close(self) -> None:
        """Give everything back."""
        await self._receiver.end_group()
        self._receiver.close()
        await self._engine.close()


async def main() -> None:
    """Obey until there are no more orders."""
    configure(service="benchmark", level="error", stream=sys.stderr)
    config = load_resolved(Path(sys.argv[1]))
    transport = ZmqTransport(allow_clear_tcp=True)
    backend, settings = (
        config.generator.backend,
        engine_settings(config, model=Path(config.trainer.policy.model.path), is_colocated=False),
    )
    engine = await asyncio.to_thread(create_engine, backend.value, settings)
    replica = Replica(engine, sys.argv[2], transport, over=sys.argv[3], is_sglang=backend is Backend.SGLANG)
    say({"ready": True})
    async for order in orders():
        match order["order"]:
            case "sync":
                say(await replica.sync(PolicyVersion(order["version"])))
            case "score":
                say(await replica.score(order["ids"]))
            case "held":
                say(await replica.held())
            case "load":
                say(await replica.load(order["num_samples"], order["num_tokens"]))
            case "unload":
                say(await replica.unload())
    await replica.close()
    transport.close()


if __name__ == "__main__":
    asyncio.run(main())
