"""Takes messages from the socket to the desk and the answers back, many at a time and bounded in number.

Decides nothing about episodes. An answer that cannot be delivered is dropped: whoever asked asks again, and the
desk answers as before.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from tetrad_reward.desk import Desk, refusal
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Delivery, Listener, PeerFullError, PeerGoneError
from tetrad_wire import LocalProtocolError
from tetrad_wire.messages.episodes import (
    CloseEpisodes,
    EpisodesOpened,
    EpisodesRefused,
    EpisodeStepped,
    OpenEpisodes,
    StepEpisode,
)
from tetrad_wire.messages.leases import FailureKind

log = get_logger(__name__)

# Requests at work or waiting for a worker; beyond it they are refused at once, and the rollout asks another replica.
MAX_REQUESTS: Final = 4096

Answer = EpisodesOpened | EpisodesRefused | EpisodeStepped


@dataclass(slots=True)
class ReceptionStatistics:
    """Counts since the start."""

    refused: int = 0
    """Requests that came while MAX_REQUESTS were at work."""
    undelivered: int = 0
    """Answers whose asker was gone or did not read."""
    unexpected: int = 0
    """Messages of a kind that a reward service does not serve."""


@dataclass(slots=True, eq=False)
class Reception:
    """Serves one listener with one desk."""

    listener: Listener
    desk: Desk
    max_requests: int = MAX_REQUESTS
    counts: ReceptionStatistics = field(default_factory=ReceptionStatistics)
    _requests: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def num_requests(self) -> int:
        """Requests not answered yet."""
        return len(self._requests)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                self._take(await self.listener.receive())
        finally:
            for request in self._requests:
                request.cancel()

    def _take(self, delivery: Delivery) -> None:
        body = delivery.message.body
        match body:
            case CloseEpisodes():
                self.desk.close(body)
            case OpenEpisodes() | StepEpisode() if len(self._requests) >= self.max_requests:
                self.counts.refused += 1
                reason = f"{self.max_requests} requests are at work, which is the limit; ask another replica"
                self._send(delivery, _refusal(body, reason, kind=FailureKind.INFRA))
            case OpenEpisodes() | StepEpisode():
                request = asyncio.create_task(self._serve(delivery, body))
                self._requests.add(request)
                request.add_done_callback(self._done)
            case _:
                self.counts.unexpected += 1

    async def _serve(self, delivery: Delivery, body: OpenEpisodes | StepEpisode) -> None:
        answer: Answer = await self.desk.open(body) if isinstance(body, OpenEpisodes) else await self.desk.step(body)
        try:
            self._send(delivery, answer)
        except LocalProtocolError as error:
            # What an environment returned is too large for a message; that is not repaired by asking again.
            self._send(delivery, _refusal(body, f"the answer cannot travel: {error}", kind=FailureKind.DATA))

    def _send(self, delivery: Delivery, answer: Answer) -> None:
        try:
            self.listener.send_nowait(delivery.peer, answer, reply_to=delivery.message.id)
        except (PeerGoneError, PeerFullError):
            self.counts.undelivered += 1

    def _done(self, request: asyncio.Task[None]) -> None:
        self._requests.discard(request)
        if not request.cancelled() and (error := request.exception()) is not None:
            # A bug of ours; the asker's deadline tells it, and the log tells us.
            log.error("request_failed", error=repr(error), exc_info=error)


def _refusal(request: OpenEpisodes | StepEpisode, reason: str, *, kind: FailureKind) -> Answer:
    if isinstance(request, OpenEpisodes):
        return EpisodesRefused(kind=kind, reason=reason)
    return refusal(request, reason, kind=kind)
