"""Reward replicas as a rollout sees them: one connection each, an episode stays where it was opened.

Owns the connections. A replica that leaves the desired state fails what waits on it at once.
"""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from tetrad_telemetry.logs import get_logger
from tetrad_transport import Connection, DeadlineError, PublicKey, RefusedError, Transport, TransportError
from tetrad_wire import LocalProtocolError
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.episodes import (
    CloseEpisodes,
    EpisodesOpened,
    EpisodesRefused,
    EpisodeStepped,
    OpenEpisodes,
    StepEpisode,
)
from tetrad_wire.messages.leases import FailureKind
from tetrad_wire.messages.membership import RewardRoute, RouteUse

log = get_logger(__name__)

# A request is repeated after this silence: replicas answer a repeated turn from their record.
RESEND_S: Final = 3.0
OPEN_TIMEOUT_S: Final = 30.0

T = TypeVar("T")


class ReplicaLostError(Exception):
    """The replica that held an episode is gone or silent."""


class EpisodeRefusedError(Exception):
    """The replica refused the episode; `kind` says whose fault it is."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(slots=True)
class Replica:
    """One reward replica and what is known of it."""

    route: RewardRoute
    connection: Connection
    is_gone: asyncio.Event = field(default_factory=asyncio.Event)
    num_episodes: int = 0

    def grades(self, env_class: str) -> str | None:
        """The grader version it has for an environment; None if it does not serve it."""
        for offer in self.route.offer.environments:
            if offer.name == env_class or self.route.offer.serves_any:
                return offer.grader_version
        return None

    async def open(self, request: OpenEpisodes) -> EpisodesOpened:
        """Open the episodes of a group; raise EpisodeRefusedError or ReplicaLostError."""
        reply = await self._ask(request, timeout_s=OPEN_TIMEOUT_S)
        match reply:
            case EpisodesOpened():
                self.num_episodes += len(request.episodes)
                return reply
            case EpisodesRefused():
                raise EpisodeRefusedError(reply.kind, reply.reason)
            case _:
                raise ReplicaLostError(f"{self.route.name} answered with {type(reply).__name__}")

    async def step(self, request: StepEpisode, *, timeout_s: float) -> EpisodeStepped:
        """Score one turn; raise ReplicaLostError."""
        reply = await self._ask(request, timeout_s=timeout_s)
        if not isinstance(reply, EpisodeStepped):
            raise ReplicaLostError(f"{self.route.name} answered with {type(reply).__name__}")
        return reply

    def close_episodes(self, episodes: Sequence[str]) -> None:
        """Give episodes up that are not done."""
        self.num_episodes -= len(episodes)
        try:
            self.connection.send_nowait(CloseEpisodes(episodes=tuple(episodes)))
        except (TransportError, LocalProtocolError) as error:
            log.debug("close_not_sent", error=str(error))

    async def _ask(self, request: msgspec.Struct, *, timeout_s: float) -> msgspec.Struct:
        try:
            asking = self.connection.request(request, timeout_s=timeout_s, resend_s=RESEND_S)
            return await self._unless_gone(asking)
        except (DeadlineError, RefusedError) as error:
            raise ReplicaLostError(f"{self.route.name}: {error}") from error

    async def _unless_gone(self, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self.is_gone.wait())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ReplicaLostError(f"{self.route.name} has left")
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()


class RewardPool:
    """The replicas of the desired state."""

    def __init__(self, transport: Transport, *, name: str) -> None:
        self._transport = transport
        self._name = name
        self._replicas: dict[Incarnation, Replica] = {}
        self._unreachable: set[Incarnation] = set()
        self._changed = asyncio.Event()

    def follow(self, routes: Sequence[RewardRoute]) -> None:
        """Connect to new replicas, fail what waits on those that are gone."""
        wanted = {route.incarnation: route for route in routes}
        for incarnation in [key for key in self._replicas if key not in wanted]:
            replica = self._replicas.pop(incarnation)
            replica.is_gone.set()
            replica.connection.close()
        for incarnation, route in wanted.items():
            known = self._replicas.get(incarnation)
            if known is None:
                self._connect(route)
            else:
                if known.route != route:
                    known.route = route
                    self._changed.set()
                known.connection.recognise(PublicKey(route.public_key))

    def _connect(self, route: RewardRoute) -> None:
        key = PublicKey(route.public_key)
        try:
            connection = self._transport.connect(route.endpoint, name=self._name, server_key=key)
        except (ValueError, TransportError) as error:
            # Another's mistake, and no reason to stop: the other replicas can be reached.
            if route.incarnation not in self._unreachable:
                self._unreachable.add(route.incarnation)
                log.warning("reward_unreachable", name=route.name, endpoint=route.endpoint, error=str(error))
            return
        self._replicas[route.incarnation] = Replica(route, connection)
        self._changed.set()

    async def choose(self, env_class: str, *, grader_version: str, timeout_s: float) -> Replica:
        """The replica with the fewest episodes that grades as pinned; wait for one up to `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._changed.clear()
                    replica = self._pick(env_class, grader_version)
                    if replica is not None:
                        return replica
                    await self._changed.wait()
        except TimeoutError:
            raise ReplicaLostError(f"no reward replica grades {env_class} as {grader_version or 'any'}") from None

    def _pick(self, env_class: str, grader_version: str) -> Replica | None:
        uses = (RouteUse.OPEN, RouteUse.PINNED) if grader_version else (RouteUse.OPEN,)
        able = [replica for replica in self._replicas.values() if replica.route.use in uses]
        naming = [replica for replica in able if replica.grades(env_class) is not None]
        # A class that no replica names is loaded by whichever opens its first episode.
        fitting = [one for one in naming if grader_version in ("", one.grades(env_class))] if naming else able
        return min(fitting, key=lambda replica: (replica.num_episodes, random.random()), default=None)

    def close(self) -> None:
        """Close every connection."""
        self.follow(())
