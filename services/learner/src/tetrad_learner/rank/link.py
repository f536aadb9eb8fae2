"""The rank's line to the coordinator: an event loop in a thread of its own, queues to the thread that trains.

The main thread computes for seconds at a time; heartbeats and progress must not wait for it.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import msgspec

from tetrad_transport import ZmqTransport
from tetrad_transport.membership import CoordinatorLostError, Member
from tetrad_wire import Message
from tetrad_wire.messages.membership import Desired, Heartbeat, Hello

# A rank without a coordinator ends itself: a new set of ranks must not meet it.
LOST_AFTER_S: Final = 120.0
START_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.5

Result = TypeVar("Result")


class LinkDownError(Exception):
    """The coordinator is gone, or the link has failed."""


class Link:
    """Talks to the coordinator from any thread."""

    def __init__(
        self, endpoint: str, hello: Hello, *, open_transport: Callable[[], ZmqTransport] = ZmqTransport
    ) -> None:
        self._endpoint = endpoint
        self._open_transport = open_transport
        self._hello = hello
        self._orders: queue.Queue[msgspec.Struct] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        self._member: Member | None = None
        self._transport: ZmqTransport | None = None
        self._failure: BaseException | None = None
        self._is_registered = threading.Event()
        self._activity, self._active_since = "", time.monotonic()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        """Register; raise LinkDownError if the coordinator does not answer."""
        self._thread.start()
        if not self._is_registered.wait(START_TIMEOUT_S):
            raise LinkDownError(f"the coordinator at {self._endpoint} did not answer within {START_TIMEOUT_S:g} s")

    def does(self, activity: str) -> None:
        """Say what this rank does from now on; it goes with every heartbeat. Empty while it waits for an order."""
        self._active_since, self._activity = time.monotonic(), activity

    @property
    def activity(self) -> str:
        """What was said last."""
        return self._activity

    def next_order(self) -> msgspec.Struct:
        """Wait for the coordinator's next order; raise LinkDownError once it is gone."""
        while True:
            if not self._thread.is_alive():
                raise LinkDownError(str(self._failure or "the link has ended"))
            try:
                return self._orders.get(timeout=POLL_S)
            except queue.Empty:
                continue

    def send(self, body: msgspec.Struct) -> None:
        """Send to the coordinator, from any thread."""
        self._loop.call_soon_threadsafe(self._send, body)

    def run(self, work: Callable[[ZmqTransport], Coroutine[Any, Any, Result]], *, timeout_s: float) -> Result:
        """Run a coroutine on the link's loop and wait for it; raise TimeoutError after `timeout_s`."""
        assert self._transport is not None
        future = asyncio.run_coroutine_threadsafe(work(self._transport), self._loop)
        return future.result(timeout=timeout_s)

    @property
    def run_id(self) -> str:
        """The run that the coordinator named."""
        return self._member.desired.run if self._member is not None and self._member.desired is not None else ""

    def _send(self, body: msgspec.Struct) -> None:
        if self._member is not None:
            self._member.send(body)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except* CoordinatorLostError as group:
            self._failure = group.exceptions[0]

    async def _serve(self) -> None:
        self._transport = self._open_transport()
        self._member = Member(
            self._transport.connect(self._endpoint, name=self._hello.name),
            hello=self._hello,
            pulse=self._pulse,
            on_desired=self._on_desired,
            on_message=self._on_message,
            lost_after_s=LOST_AFTER_S,
        )
        await self._member.run()

    def _pulse(self, generation: int) -> Heartbeat:
        return Heartbeat(
            incarnation=self._hello.incarnation,
            generation=generation,
            activity=self._activity,
            activity_s=time.monotonic() - self._active_since,
        )

    def _on_desired(self, _desired: Desired) -> None:
        self._is_registered.set()

    def _on_message(self, message: Message) -> None:
        self._orders.put_nowait(message.body)
