"""One rollout replica as in a run, and the least coordinator that keeps it busy.

Processes of their own: the rollout service with its engine, a reward service, a broadcaster. In this process: a
coordinator that registers them, publishes the model's own weights through the broadcaster, grants leases and
acknowledges samples, all over ZeroMQ. It has no ledger: what is measured is the rollout service.
"""

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from rollout_turn import Batch, Turn

from tetrad_config import RunConfig, dump_resolved
from tetrad_learner.publishing import Publisher
from tetrad_runtime.orphans import die_with_parent
from tetrad_transport import Delivery, PeerGoneError, PeerId, ZmqTransport
from tetrad_transport.membership import new_incarnation
from tetrad_weights import Bytes, Layout, Parameter, lay_out
from tetrad_wire.ids import Draw, Incarnation, PolicyVersion, RunId, Token
from tetrad_wire.messages.leases import (
    ChatMessage,
    Disposition,
    FinishReason,
    Lane,
    LeaseGranted,
    LeaseReturned,
    Prompt,
    SampleAck,
    SampleFinished,
    SamplesAcknowledged,
    SamplingParams,
)
from tetrad_wire.messages.membership import (
    Certificate,
    Desired,
    Heartbeat,
    Hello,
    RewardRoute,
    Role,
    RunState,
    WantedWeights,
)

RUN: Final = RunId("bench-rollout")
VERSION: Final = PolicyVersion(1)
LEASE_S: Final = 300.0
PUBLISH_TIMEOUT_S: Final = 60.0
GRACE_S: Final = 25.0
POLL_S: Final = 0.05
# transformers switches devices and dtypes for the whole process while it loads.
LOADING: Final = threading.Lock()


class SiteError(Exception):
    """A process of the site ended, or a lease came back."""


@dataclass(slots=True)
class Harvest:
    """What has come back of the leases under way."""

    wanted: int
    num_tokens: int = 0
    num_full: int = 0
    seen: set[tuple[Token, int]] = field(default_factory=set)
    is_whole: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str = ""


class LeastCoordinator:
    """Membership, leases and acknowledgements; owns the listener."""

    def __init__(self, transport: ZmqTransport, folder: Path, *, broadcaster: str) -> None:
        self.listener = transport.listen(f"ipc://{folder}/coordinator")
        self.listener.stamp.run, self.listener.stamp.epoch = RUN, 1
        self._broadcaster = broadcaster
        self._rewards: dict[Incarnation, RewardRoute] = {}
        self._rollout: PeerId | None = None
        self._tokens = itertools.count(1)
        self.weights: WantedWeights | None = None
        self.certificate: Certificate | None = None
        self.metrics_url = ""
        self.has_broadcaster = False
        self.harvest = Harvest(wanted=0)

    async def serve(self) -> None:
        """Hear everything until cancelled."""
        while True:
            delivery = await self.listener.receive()
            match delivery.message.body:
                case Hello() as hello:
                    self._register(hello, delivery.peer)
                    self._answer(delivery)
                case Heartbeat() as beat:
                    if delivery.peer == self._rollout:
                        self.certificate = beat.certificate
                    self._answer(delivery)
                case SampleFinished() as sample:
                    self._take(sample, delivery.peer)
                case LeaseReturned() as returned:
                    self.harvest.failure = returned.reason
                    self.harvest.is_whole.set()

    def grant(self, batch: Batch, messages: Sequence[str]) -> None:
        """One lease for each prompt."""
        assert self._rollout is not None
        self.harvest = Harvest(wanted=len(messages) * batch.num_samples)
        for message in messages:
            token = Token(next(self._tokens))
            self.listener.send_nowait(self._rollout, _lease(token, message, batch))

    @property
    def is_ready(self) -> bool:
        """Whether leases can be granted."""
        wanted = self.weights
        return wanted is not None and self.certificate is not None and self.certificate.digest == wanted.digest

    def _register(self, hello: Hello, peer: PeerId) -> None:
        match hello.role:
            case Role.REWARD:
                assert hello.reward is not None
                self._rewards[hello.incarnation] = RewardRoute(
                    name=hello.name, incarnation=hello.incarnation, endpoint=hello.endpoint, offer=hello.reward
                )
            case Role.ROLLOUT:
                self._rollout, self.metrics_url = peer, hello.metrics_url
            case Role.BROADCASTER:
                self.has_broadcaster = True
            case Role.TRAINER:
                raise SiteError("a trainer registered; there is none here")

    def _answer(self, delivery: Delivery) -> None:
        desired = Desired(
            generation=1 + len(self._rewards) + (self.weights is not None),
            state=RunState.RUNNING,
            run=RUN,
            weights=self.weights,
            rewards=tuple(self._rewards.values()),
            broadcaster=self._broadcaster if self.has_broadcaster else "",
            heartbeat_s=0.5,
        )
        with contextlib.suppress(PeerGoneError):
            self.listener.send_nowait(delivery.peer, desired)

    def _take(self, sample: SampleFinished, peer: PeerId) -> None:
        ack = SampleAck(
            token=sample.token,
            lane=sample.lane,
            draw=sample.draw,
            index=sample.index,
            disposition=Disposition.ACCEPTED,
        )
        self.listener.send_nowait(peer, SamplesAcknowledged(acks=(ack,)))
        harvest, key = self.harvest, (sample.token, sample.index)
        if key in harvest.seen:
            return
        harvest.seen.add(key)
        harvest.num_tokens += int(sample.loss_mask.sum())
        harvest.num_full += sample.finish_reason is FinishReason.LENGTH
        if len(harvest.seen) == harvest.wanted:
            harvest.is_whole.set()


class Site:
    """A rollout replica and what it needs: `await start()`, `await play(…)`, `await close()`."""

    def __init__(self, name: str, config: RunConfig, folder: Path, *, gpus: str = "") -> None:
        self.name, self.config, self.folder = name, config, folder
        self._seen = {"CUDA_VISIBLE_DEVICES": gpus} if gpus else {}
        """GPUs of the replica, where it does not see all."""
        folder.mkdir(parents=True, mode=0o700)  # sockets are made in it
        self._broadcaster = f"ipc://{folder}/broadcaster"
        self._transport = ZmqTransport()
        self._coordinator = LeastCoordinator(self._transport, folder, broadcaster=self._broadcaster)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._serving: asyncio.Task[None] | None = None
        self._publisher: Publisher | None = None

    async def start(self, *, timeout_s: float) -> None:
        """Start the processes, publish the model's weights, wait for the engine's certificate."""
        (self.folder / "config.yaml").write_text(dump_resolved(self.config), encoding="utf-8")
        self._serving = asyncio.create_task(self._coordinator.serve(), name=f"coordinator-{self.name}")
        async with asyncio.timeout(timeout_s):
            await self._spawn("broadcaster", TETRAD_BIND=self._broadcaster)
            await self._spawn("reward", TETRAD_BIND=f"ipc://{self.folder}/reward")
            await self._spawn("rollout", **self._seen)
            await self._publish()
            while not self._coordinator.is_ready:
                self._check_alive()
                await asyncio.sleep(POLL_S)

    async def play(self, batch: Batch, messages: Sequence[str], *, timeout_s: float) -> Turn:
        """Lease all prompts at once; until the last sample has come, graded."""
        before = await self._counters()
        started = time.perf_counter()
        self._coordinator.grant(batch, messages)
        harvest = self._coordinator.harvest
        async with asyncio.timeout(timeout_s):
            await harvest.is_whole.wait()
        seconds = time.perf_counter() - started
        if harvest.failure:
            raise SiteError(f"{self.name} gave a lease back: {harvest.failure}")
        after = await self._counters()
        prompt, prefilled = (after[name] - before[name] for name in (PROMPT_TOKENS, PREFILLED_TOKENS))
        return Turn(
            seconds=seconds,
            num_tokens=harvest.num_tokens,
            full_share=harvest.num_full / harvest.wanted,
            cached_share=1.0 - prefilled / prompt,
        )

    async def close(self) -> None:
        """End everything, the rollout first."""
        for process in reversed(self._processes.values()):
            await _end(process)
        if self._publisher is not None:
            await asyncio.to_thread(self._publisher.close)
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait({self._serving})
        self._transport.close()

    async def _spawn(self, service: str, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
        log = (self.folder / f"{service}.log").open("ab")
        self._processes[service] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"tetrad_{service}"),
            env={
                **environment,
                "TETRAD_RUN_DIR": str(self.folder),
                "TETRAD_COORDINATOR": self._coordinator.listener.endpoint,
                "TETRAD_LOG_LEVEL": "warning",
                **variables,
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(),
        )
        log.close()

    async def _publish(self) -> None:
        generator = self.config.generator
        layout, source = await asyncio.to_thread(weights_of, Path(generator.model_name), generator.model_dtype.value)

        def fill(buffer: Bytes) -> None:
            np.copyto(buffer, source)

        while not self._coordinator.has_broadcaster:
            self._check_alive()
            await asyncio.sleep(POLL_S)
        self._publisher = Publisher(
            self._transport.connect(self._broadcaster, name="trainer-0"),
            run=RUN,
            incarnation=new_incarnation(),
            timeout_s=PUBLISH_TIMEOUT_S,
        )
        published = await self._publisher.publish(version=VERSION, step=0, layout=layout, fill=fill)
        self._coordinator.weights = WantedWeights(version=VERSION, digest=published.digest, step=0)

    def _check_alive(self) -> None:
        for service, process in self._processes.items():
            if process.returncode is not None:
                log = (self.folder / f"{service}.log").read_text(encoding="utf-8", errors="replace")
                raise SiteError(f"{self.name}: {service} ended with code {process.returncode}:\n{log[-3000:]}")
        if self._serving is not None and self._serving.done():
            self._serving.result()

    async def _counters(self) -> dict[str, float]:
        url = self._coordinator.metrics_url
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=GRACE_S).read().decode())
        return counters(page)


PROMPT_TOKENS: Final = "tetrad_rollout_prompt_tokens_total"
PREFILLED_TOKENS: Final = "tetrad_rollout_prefilled_tokens"


def counters(page: str) -> dict[str, float]:
    """The two counters of prompt tokens on a page of metrics.

    >>> counters("tetrad_rollout_prompt_tokens_total 64.0\\ntetrad_rollout_prefilled_tokens 16.0\\n")
    {'tetrad_rollout_prompt_tokens_total': 64.0, 'tetrad_rollout_prefilled_tokens': 16.0}
    """
    found = {}
    for line in page.splitlines():
        name, _, value = line.partition(" ")
        if name in (PROMPT_TOKENS, PREFILLED_TOKENS):
            found[name] = float(value)
    return found


def weights_of(folder: Path, dtype: str) -> tuple[Layout, Bytes]:
    """A model's parameters as a learner lays them out: tied ones once, in the engine's number format."""
    import torch
    from transformers import AutoModelForCausalLM

    with LOADING:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    named = dict(model.named_parameters())
    layout = lay_out(Parameter(name, dtype, tuple(value.shape)) for name, value in named.items())
    flat = np.zeros(layout.num_bytes, np.uint8)
    for spec in layout.tensors:
        values = named[spec.name].detach().contiguous().reshape(-1).view(torch.uint8)
        flat[spec.offset : spec.offset + spec.num_bytes] = values.numpy()
    return layout, flat


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to leave, then kill it; an engine's own processes follow it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(GRACE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _lease(token: Token, message: str, batch: Batch) -> LeaseGranted:
    draw, samples = int(token), range(batch.num_samples)
    return LeaseGranted(
        token=token,
        nonce=f"nonce-{token}",
        lane=Lane.TRAIN,
        draw=Draw(draw),
        prompt=Prompt(messages=(ChatMessage("user", message),), env_class="benchmark", ground_truth=None),
        indices=tuple(samples),
        seeds=tuple(draw * batch.num_samples + index for index in samples),
        sampling=SamplingParams(max_generate_length=batch.num_tokens, temperature=1.0),
        version_min=VERSION,
        progress_timeout_s=LEASE_S,
        hard_timeout_s=LEASE_S,
    )
