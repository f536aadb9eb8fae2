"""The episodes of one replica and the worker processes that they live in.

An episode is plain data: its opening and the recorded turns. When its worker dies of another grade it is made again
elsewhere, and its turns are replayed where the grader says that it may. Runs no foreign code; starts no process.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar

from tetrad_reward.frames import FrameError
from tetrad_reward.requests import (
    Close,
    Failed,
    Grade,
    Load,
    Loaded,
    Open,
    Opened,
    Opening,
    Reply,
    Request,
    Step,
    Stepped,
    crashed,
    refused,
)
from tetrad_reward.supply import Member, Supply, WorkerLimits, WorkersUnavailableError
from tetrad_reward.worker import Moved
from tetrad_wire.messages.leases import FailureKind

Wanted = TypeVar("Wanted", Loaded, Opened, Stepped)

# Workers that may die under one request, through the fault of others, before it is given back to its owner.
MAX_MOVES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersStatistics:
    """What the workers are doing."""

    busy: int
    idle: int
    spare: int
    starting: int
    waiting: int
    """Requests that no worker has answered yet."""
    deaths: int
    """Workers that left since the start."""
    replayed: int
    """Episodes that were made again on another worker."""


@dataclass(slots=True, kw_only=True)
class _Episode:
    opening: Opening
    member: Member | None = None
    opened: Opened | None = None
    turns: list[tuple[str, Stepped]] = field(default_factory=list)


class Workers:
    """Use as `async with Workers(…) as workers`. One request at a time for each episode."""

    def __init__(self, *, num_workers: int, limits: WorkerLimits) -> None:
        self._limits = limits
        self._supply = Supply(num_workers=num_workers, limits=limits, warm_up=self._warm_up)
        self._graders: dict[str, tuple[Load, Loaded]] = {}
        self._episodes: dict[str, _Episode] = {}
        self._loading = asyncio.Lock()
        self._replayed = 0

    async def __aenter__(self) -> Self:
        """Begin to start workers; requests wait for the first."""
        await self._supply.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Let every worker leave; kill those that do not."""
        await self._supply.__aexit__(*exc)

    async def watch(self) -> None:
        """Wait until workers cannot be started any more; raises WorkersUnavailableError then."""
        await self._supply.watch()

    async def load(self, name: str, *, reference: str, config: Mapping[str, object]) -> Loaded | Failed:
        """Make a grader usable under `name`, by workers yet to come as well; repeating it is cheap."""
        async with self._loading:
            if name in self._graders:
                return self._graders[name][1]
            load = Load(name=name, reference=reference, config=dict(config))
            reply = _expected(await self._ask_any(load, deadline_s=self._limits.load_deadline_s), Loaded)
            if isinstance(reply, Loaded):
                # Pinned: a worker that starts after the file was edited must not grade by another version.
                pinned = Load(name=name, reference=reference, config=load.config, version=reply.version)
                self._graders[name] = (pinned, reply)
            return reply

    async def open(self, episode: str, opening: Opening) -> Opened | Failed:
        """Make an episode's environment; `episode` must be new."""
        record = _Episode(opening=opening)
        self._episodes[episode] = record
        for _ in range(MAX_MOVES):
            reply = await self._settle(episode, record)
            if isinstance(reply, Failed):
                self.close((episode,))
            if not isinstance(reply, Moved):
                return reply
        return self._give_up(episode)

    async def step(self, episode: str, action: str) -> Stepped | Failed:
        """Score one turn; after a Failed the episode is gone."""
        record = self._episodes.get(episode)
        if record is None:
            return refused(f"no open episode {episode!r}", kind=FailureKind.INFRA)
        for _ in range(MAX_MOVES):
            reply = await self._try_step(episode, record, action)
            if isinstance(reply, Stepped):
                record.turns.append((action, reply))
            if isinstance(reply, Failed):
                self.close((episode,))
            if not isinstance(reply, Moved):
                return reply
        return self._give_up(episode)

    async def grade(self, opening: Opening, action: str) -> Stepped | Failed:
        """Score one single-turn response in one round trip."""
        request = Grade(opening=opening, action=action)
        return _expected(await self._ask_any(request, deadline_s=self._deadline_s(opening.grader)), Stepped)

    def close(self, episodes: tuple[str, ...]) -> None:
        """Forget episodes, known or not."""
        homes: dict[Member, list[str]] = {}
        for episode in episodes:
            record = self._episodes.pop(episode, None)
            if record is not None and record.member is not None:
                record.member.episodes.discard(episode)
                homes.setdefault(record.member, []).append(episode)
        for member, leaving in homes.items():
            member.worker.submit(Close(episodes=tuple(leaving)), deadline_s=self._limits.deadline_s)

    def statistics(self) -> WorkersStatistics:
        """Count workers by what they do."""
        waiting = [member.worker.num_waiting for member in self._supply.active]
        busy = sum(number > 0 for number in waiting)
        return WorkersStatistics(
            busy=busy,
            idle=len(waiting) - busy,
            spare=len(self._supply.spare),
            starting=self._supply.starting,
            waiting=sum(waiting),
            deaths=self._supply.deaths,
            replayed=self._replayed,
        )

    async def _try_step(self, episode: str, record: _Episode, action: str) -> Stepped | Failed | Moved:
        if record.member is None or record.member.worker.has_left:
            settled = await self._settle(episode, record)
            if not isinstance(settled, Opened):
                return settled
        assert record.member is not None
        deadline_s = self._deadline_s(record.opening.grader)
        reply = await self._ask(record.member, Step(episode=episode, action=action), deadline_s=deadline_s)
        return reply if isinstance(reply, Moved) else _expected(reply, Stepped)

    async def _settle(self, episode: str, record: _Episode) -> Opened | Failed | Moved:
        """Give an episode a home, and there the past that it has."""
        if record.turns and not self._is_replayable(record.opening.grader):
            return crashed("its worker died of another grade, and it cannot be replayed", kind=FailureKind.INFRA)
        member = await self._find(record.opening.grader)
        if isinstance(member, Failed):
            return member
        record.member = member
        member.episodes.add(episode)
        reply = await self._ask(member, Open(episode=episode, opening=record.opening))
        if isinstance(reply, Opened) and record.opened is not None:
            return await self._replay(episode, record, reply)
        if isinstance(reply, Opened):
            record.opened = reply
        return reply if isinstance(reply, Moved) else _expected(reply, Opened)

    async def _replay(self, episode: str, record: _Episode, opened: Opened) -> Opened | Failed | Moved:
        assert record.member is not None
        self._replayed += 1
        if opened != record.opened:
            return crashed("made again, it began with another prompt", kind=FailureKind.INFRA)
        for turn, (action, recorded) in enumerate(record.turns):
            reply = await self._ask(record.member, Step(episode=episode, action=action))
            if isinstance(reply, Moved):
                return reply
            if not isinstance(reply, Stepped) or not _is_same_answer(reply, recorded):
                return crashed(f"replayed, turn {turn} came out otherwise", kind=FailureKind.INFRA)
        return opened

    def _is_replayable(self, grader: str) -> bool:
        known = self._graders.get(grader)
        return known is not None and known[1].is_replayable

    def _deadline_s(self, grader: str) -> float:
        """Seconds that a turn may take: those of the run, or fewer where the grader says so."""
        known = self._graders.get(grader)
        own_s = known[1].grade_timeout_s if known is not None else 0.0
        return min(own_s or self._limits.deadline_s, self._limits.deadline_s)

    async def _ask_any(self, request: Load | Grade, *, deadline_s: float) -> Reply:
        for _ in range(MAX_MOVES):
            member = await self._find(request.opening.grader if isinstance(request, Grade) else request.name)
            if isinstance(member, Failed):
                return member
            reply = await self._ask(member, request, deadline_s=deadline_s)
            if isinstance(reply, Loaded) and isinstance(request, Load):
                member.graders.add(request.name)
            if not isinstance(reply, Moved):
                return reply
        return _too_many_moves()

    async def _ask(self, member: Member, request: Request, *, deadline_s: float | None = None) -> Reply | Moved:
        try:
            return await member.worker.submit(request, deadline_s=deadline_s or self._limits.deadline_s)
        except FrameError as error:
            return refused(f"the request cannot travel: {error}", kind=FailureKind.DATA)

    async def _find(self, grader: str) -> Member | Failed:
        """Choose the worker with the least to do, and see that it has the grader."""
        try:
            await self._supply.wait_for_active()
        except WorkersUnavailableError as error:
            return refused(str(error), kind=FailureKind.INFRA)
        member = min(self._supply.active, key=lambda each: (each.worker.num_waiting, len(each.episodes)))
        if grader in self._graders and grader not in member.graders:
            # Not awaited: the worker answers in order, so what follows finds the grader or the reason why not.
            self._tell(member, grader)
        return member

    async def _warm_up(self, member: Member) -> None:
        for grader in list(self._graders):
            await self._tell(member, grader)

    def _tell(self, member: Member, grader: str) -> asyncio.Future[Reply | Moved]:
        member.graders.add(grader)
        return member.worker.submit(self._graders[grader][0], deadline_s=self._limits.load_deadline_s)

    def _give_up(self, episode: str) -> Failed:
        self.close((episode,))
        return _too_many_moves()


def _expected(reply: Reply, wanted: type[Wanted]) -> Wanted | Failed:
    # `Worker` has checked the type of each answer against its request.
    assert isinstance(reply, wanted | Failed)
    return reply


def _is_same_answer(left: Stepped, right: Stepped) -> bool:
    return (left.reward, left.is_done, left.observations, left.postprocessed_action) == (
        right.reward,
        right.is_done,
        right.observations,
        right.postprocessed_action,
    )


def _too_many_moves() -> Failed:
    return crashed(f"{MAX_MOVES} workers died before they came to it", kind=FailureKind.INFRA)
