"""An admitted rollout that takes a lease of the running coordinator and says what the test makes it say."""

import asyncio

from tetrad_testing.builders import a_certificate, a_heartbeat, a_hello, a_rollout_offer, a_sample
from tetrad_transport import Connection
from tetrad_transport.membership import Member, new_incarnation
from tetrad_wire import Message
from tetrad_wire.messages.leases import LeaseGranted, SampleAck, SampleFinished, SamplesAcknowledged
from tetrad_wire.messages.membership import Certificate, Desired, Heartbeat


class Lessee:
    """Register it with `member.run()`; it holds no weights, but says that it does."""

    def __init__(self, connection: Connection) -> None:
        self._incarnation = new_incarnation()
        self._certificate: Certificate | None = None
        self.leases: asyncio.Queue[LeaseGranted] = asyncio.Queue()
        self.acks: asyncio.Queue[SampleAck] = asyncio.Queue()
        self.member = Member(
            connection,
            hello=a_hello(incarnation=self._incarnation, rollout=a_rollout_offer(credit=1)),
            pulse=self._pulse,
            on_desired=self._follow,
            on_message=self._hear,
        )

    def sample(self, lease: LeaseGranted) -> SampleFinished:
        """The first sample of the lease."""
        return a_sample(
            token=lease.token,
            nonce=lease.nonce,
            draw=lease.draw,
            index=lease.indices[0],
            incarnation=self._incarnation,
            version=lease.version_min,
            grader_version=lease.grader_version,
        )

    def _pulse(self, generation: int) -> Heartbeat:
        return a_heartbeat(
            incarnation=self._incarnation, generation=generation, certificate=self._certificate, leases=(), weights=None
        )

    def _follow(self, desired: Desired) -> None:
        wanted = desired.weights
        if wanted is None or (self._certificate is not None and self._certificate.digest == wanted.digest):
            return
        self._certificate = a_certificate(
            run=desired.run, incarnation=self._incarnation, version=wanted.version, digest=wanted.digest
        )
        self.member.beat_now()

    def _hear(self, message: Message) -> None:
        match message.body:
            case LeaseGranted() as lease:
                self.leases.put_nowait(lease)
            case SamplesAcknowledged(acks=acks):
                for ack in acks:
                    self.acks.put_nowait(ack)
