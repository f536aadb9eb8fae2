"""A service's side of membership: say who we are, show that we live, follow the desired state.

Owns the connection to the coordinator. What is no Desired is handed to the service.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from tetrad_transport.channel import Connection
from tetrad_transport.errors import PeerFullError
from tetrad_wire import Message
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import Bye, Desired, Heartbeat, Hello
from tetrad_wire.messages.refusals import Refused

# Before the coordinator has told its rhythm.
FIRST_HEARTBEAT_S: Final = 0.5


def new_incarnation() -> Incarnation:
    """A random name for this start of the process."""
    return Incarnation(secrets.token_hex(8))


class CoordinatorLostError(Exception):
    """The coordinator has been silent for longer than the service is willing to wait."""


class CoordinatorRefusedError(CoordinatorLostError):
    """The coordinator does not take us in: our key does not permit what we say we are."""


class Member:
    """Keeps one service registered.

    `pulse` makes the heartbeat, given the generation that is followed; `on_desired` hears every Desired, repeated
    ones included; `on_message` hears everything else. All run on the event loop and must not block it.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        hello: Hello,
        pulse: Callable[[int], Heartbeat],
        on_desired: Callable[[Desired], None],
        on_message: Callable[[Message], None],
        lost_after_s: float = 600.0,
    ) -> None:
        self._connection = connection
        self._hello = hello
        self._pulse = pulse
        self._on_desired = on_desired
        self._on_message = on_message
        self._lost_after_s = lost_after_s
        self._heard_at = 0.0
        self._is_beating_early = asyncio.Event()
        self._refused: Refused | None = None
        self.desired: Desired | None = None

    async def run(self) -> None:
        """Register and follow until cancelled; raise CoordinatorLostError after `lost_after_s` of silence.

        Raises CoordinatorRefusedError as soon as the coordinator says that our key does not permit it.
        """
        self._heard_at = asyncio.get_running_loop().time()
        self._connection.on_refused = self._take_refusal
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(), name="member-listen")
                tasks.create_task(self._beat(), name="member-beat")
        except ExceptionGroup as group:
            # The first failure ends both tasks; callers name it, not the group around it.
            raise group.exceptions[0] from None

    def beat_now(self) -> None:
        """Send the next heartbeat at once: something worth telling has changed."""
        self._is_beating_early.set()

    def send(self, body: msgspec.Struct) -> bool:
        """Send to the coordinator; return whether it was taken. What must arrive is sent again by its owner."""
        try:
            self._connection.send_nowait(body)
        except PeerFullError:
            return False
        return True

    def leave(self, reason: str) -> None:
        """Say farewell; the coordinator forgets us at once instead of after a silence."""
        self.send(Bye(incarnation=self._hello.incarnation, reason=reason))

    @property
    def is_registered(self) -> bool:
        """Whether the coordinator has answered."""
        return self.desired is not None

    async def _listen(self) -> None:
        while True:
            message = await self._connection.receive()
            self._heard_at = asyncio.get_running_loop().time()
            if isinstance(message.body, Desired):
                self._follow(message.body)
            else:
                self._on_message(message)

    def _follow(self, desired: Desired) -> None:
        if desired.should_register:
            self.desired = None
            self.beat_now()
            return
        previous, self.desired = self.desired, desired
        self._connection.stamp.run = desired.run
        self._on_desired(desired)
        # Never for a repeated state: each heartbeat is answered with one, and the two would chase each other.
        if previous is None or previous.state is not desired.state:
            self.beat_now()

    async def _beat(self) -> None:
        while True:
            self._check_coordinator()
            if self.desired is None:
                self.send(self._hello)
            else:
                self.send(self._pulse(self.desired.generation))
            await self._pause(self.desired.heartbeat_s if self.desired else FIRST_HEARTBEAT_S)

    async def _pause(self, seconds: float) -> None:
        self._is_beating_early.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._is_beating_early.wait()
        except TimeoutError:
            pass

    def _take_refusal(self, refused: Refused) -> None:
        self._refused = refused
        self.beat_now()

    def _check_coordinator(self) -> None:
        if self._refused is not None:
            raise CoordinatorRefusedError(
                f"the coordinator refuses {self._hello.name}: {self._refused.reason} ({self._refused.code})"
            )
        silence = asyncio.get_running_loop().time() - self._heard_at
        if silence > self._lost_after_s:
            raise CoordinatorLostError(
                f"no word from the coordinator for {silence:.1f} s; the limit is {self._lost_after_s:g} s"
            )
