"""Peers of a coordinator that cost next to nothing: rollouts that answer at once, one rank, a broadcaster, a reward."""

import asyncio
import functools
import os
import socket
from collections.abc import Callable
from typing import Final

import numpy as np

from tetrad_transport import Connection
from tetrad_transport.membership import Member, new_incarnation
from tetrad_wire import Message
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.leases import (
    Disposition,
    FinishReason,
    LeaseGranted,
    SampleFinished,
    SamplesAcknowledged,
    VersionSpan,
)
from tetrad_wire.messages.membership import (
    CachePolicy,
    Certificate,
    Desired,
    EnvironmentOffer,
    Heartbeat,
    Hello,
    RewardOffer,
    Role,
    RolloutOffer,
)
from tetrad_wire.messages.steps import (
    CheckpointSaved,
    ExecuteStep,
    PublishWeights,
    RankReady,
    SaveCheckpoint,
    StepExecuted,
    WeightsPublished,
)

NUM_TOKENS: Final = 256
"""Of a sample, prompt included."""
PROMPT_LENGTH: Final = 56
GRADER: Final = EnvironmentOffer(name="arithmetic", grader_version="arithmetic-1")


class FakeRollout:
    """Takes leases and sends whole groups back in the same turn of the loop."""

    def __init__(self, connection: Connection, *, name: str, credit: int, on_settled: Callable[[int], None]) -> None:
        self._incarnation = new_incarnation()
        self._certificate: Certificate | None = None
        self._on_settled = on_settled
        hello = a_hello(Role.ROLLOUT, name, self._incarnation, rollout=_an_offer(credit))
        self.member = Member(
            connection, hello=hello, pulse=self._pulse, on_desired=self._follow, on_message=self._on_message
        )

    def _pulse(self, generation: int) -> Heartbeat:
        return Heartbeat(incarnation=self._incarnation, generation=generation, certificate=self._certificate)

    def _follow(self, desired: Desired) -> None:
        wanted = desired.weights
        if wanted is None or (self._certificate is not None and self._certificate.digest == wanted.digest):
            return
        self._certificate = Certificate(
            run=desired.run,
            incarnation=self._incarnation,
            version=wanted.version,
            digest=wanted.digest,
            cache_policy=CachePolicy.FLUSH,
            is_probe_ok=True,
        )
        self.member.beat_now()

    def _on_message(self, message: Message) -> None:
        match message.body:
            case LeaseGranted():
                for index in message.body.indices:
                    self.member.send(a_sample(message.body, index, self._incarnation))
            case SamplesAcknowledged():
                refused = [ack for ack in message.body.acks if ack.disposition is not Disposition.ACCEPTED]
                assert not refused, refused[0]
                self._on_settled(len(message.body.acks))


def a_sample(lease: LeaseGranted, index: int, incarnation: Incarnation) -> SampleFinished:
    """A sample of the usual size; its tokens differ from those of every other slot."""
    return SampleFinished(
        token=lease.token,
        nonce=lease.nonce,
        lane=lease.lane,
        round=lease.round,
        draw=lease.draw,
        index=index,
        incarnation=incarnation,
        prompt_length=PROMPT_LENGTH,
        finish_reason=FinishReason.STOP,
        num_turns=1,
        spans=(VersionSpan(lease.version_min, NUM_TOKENS - PROMPT_LENGTH),),
        grader_version=lease.grader_version,
        token_ids=np.arange(NUM_TOKENS, dtype=np.int32) + int(lease.draw),
        loss_mask=_mask(),
        rollout_logprobs=np.full(NUM_TOKENS, -0.5, np.float32),
        reward_positions=np.array([NUM_TOKENS - 1], np.int32),
        reward_values=np.array([float(index % 2)], np.float32),
        response="some text of the usual length " * 8,
    )


@functools.cache
def _mask() -> np.ndarray:
    mask = np.ones(NUM_TOKENS, np.uint8)
    mask[:PROMPT_LENGTH] = 0
    return mask


class FakeRank:
    """The only rank of a set: executes, publishes and saves in no time."""

    def __init__(self, connection: Connection, *, set_name: str, pid: int) -> None:
        self._connection = connection
        ready = RankReady(rank=0, world_size=1, incarnation=Incarnation(set_name), pid=pid, step=0)
        connection.send_nowait(ready)

    async def run(self) -> None:
        """Obey until cancelled."""
        while True:
            match (await self._connection.receive()).body:
                case ExecuteStep() as order:
                    self._connection.send_nowait(StepExecuted(rank=0, step=order.step, lineage=order.lineage))
                case PublishWeights() as order:
                    digest = f"weights-of-step-{order.step}"
                    self._connection.send_nowait(
                        WeightsPublished(version=order.version, digest=digest, num_bytes=0, seconds=0.0)
                    )
                case SaveCheckpoint() as order:
                    self._connection.send_nowait(CheckpointSaved(rank=0, step=order.step, seconds=0.0))


def a_bystander(connection: Connection, role: Role, name: str) -> Member:
    """A member that only shows that it lives."""
    incarnation = new_incarnation()
    reward = RewardOffer(environments=(GRADER,), credit=1 << 20) if role is Role.REWARD else None
    return Member(
        connection,
        hello=a_hello(role, name, incarnation, reward=reward),
        pulse=lambda generation: Heartbeat(incarnation=incarnation, generation=generation),
        on_desired=lambda _desired: None,
        on_message=lambda _message: None,
    )


def a_hello(
    role: Role,
    name: str,
    incarnation: Incarnation,
    *,
    rollout: RolloutOffer | None = None,
    reward: RewardOffer | None = None,
) -> Hello:
    """Registers a fake."""
    return Hello(
        role=role,
        name=name,
        incarnation=incarnation,
        endpoint=f"memory://{name}",
        host=socket.gethostname(),
        pid=os.getpid(),
        rollout=rollout,
        reward=reward,
    )


def _an_offer(credit: int) -> RolloutOffer:
    return RolloutOffer(engine="fake", credit=credit, honours_seeds=True, is_deterministic=False)


async def a_process_to_watch() -> asyncio.subprocess.Process:
    """Stands in for torchrun, which the coordinator watches and ends."""
    quiet = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec("sleep", "3600", stdout=quiet, stderr=quiet, start_new_session=True)
