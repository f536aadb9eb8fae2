"""Answers the three messages of the protocol: open episodes, score a turn, close episodes.

Joins the episode table (which turns may be scored) and the workers (who scores them). Knows no socket: `service.py`
brings the messages and takes the answers away.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Final

from tetrad_reward.choice import Choice
from tetrad_reward.episodes import Admit, EpisodeEvent, Episodes, EpisodesStatistics, Join, Refuse, Repeat, Score, Wait
from tetrad_reward.ground_truth import with_ground_truth
from tetrad_reward.requests import Failed, Loaded, Opened, Opening, Stepped
from tetrad_reward.workers import Workers
from tetrad_wire.codec import pack
from tetrad_wire.messages.episodes import (
    CloseEpisodes,
    EpisodesOpened,
    EpisodesRefused,
    EpisodeStepped,
    GradeOutcome,
    OpenEpisodes,
    StepEpisode,
)
from tetrad_wire.messages.leases import FailureKind

MAX_EPISODES: Final = 8192
# Longer than any turn takes to generate; a rollout that needs longer repeats its OpenEpisodes to keep them.
IDLE_S: Final = 900.0

Observe = Callable[[str, EpisodeStepped], None]
"""Hears the version of the grader and each fresh answer, once."""


class Desk:
    """One per replica."""

    def __init__(
        self,
        workers: Workers,
        choice: Choice,
        *,
        observe: Observe = lambda _version, _answer: None,
        max_episodes: int = MAX_EPISODES,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._choice = choice
        self._observe = observe
        self._table = Episodes[EpisodesOpened, EpisodeStepped](max_episodes=max_episodes, idle_s=idle_s, clock=clock)
        self._opening: dict[str, asyncio.Future[EpisodesOpened | EpisodesRefused]] = {}
        self._grading: dict[str, asyncio.Future[EpisodeStepped]] = {}
        self._changed = asyncio.Event()
        self.is_draining = False
        """Set to take no new episodes."""

    @property
    def room(self) -> int:
        """Episodes that would be taken now."""
        return 0 if self.is_draining else self._table.room

    @property
    def num_unfinished(self) -> int:
        """Episodes whose end has not come."""
        return self._table.num_unfinished

    async def load(self, reference: str) -> Loaded | Failed:
        """Have a grader ready."""
        return await self._workers.load(reference, reference=reference, config=self._choice.settings_for(reference))

    async def open(self, request: OpenEpisodes) -> EpisodesOpened | EpisodesRefused:
        """Start an episode for each id, all or none; a repeated request gets the same answer."""
        if self.is_draining:
            return EpisodesRefused(kind=FailureKind.INFRA, reason="this replica is draining; ask another")
        reference = self._choice.reference_for(request.env_class)
        loaded = await self.load(reference)
        if isinstance(loaded, Failed):
            return EpisodesRefused(kind=loaded.kind, reason=loaded.reason)
        if request.grader_version not in {"", loaded.version}:
            return EpisodesRefused(
                kind=FailureKind.INFRA,
                reason=f"the group is pinned to grader {request.grader_version}; this replica has {loaded.version}",
            )
        return await self._enter(request, reference, loaded.version)

    async def step(self, request: StepEpisode) -> EpisodeStepped:
        """Score one turn, or answer it as before."""
        verdict = self._table.ask(request.episode, turn=request.turn, action=request.action)
        match verdict:
            case Score():
                return await self._score(request)
            case Wait():
                return await asyncio.shield(self._grading[request.episode])
            case Repeat(answer):
                return answer
            case Refuse(reason):
                return refusal(request, reason, kind=FailureKind.INFRA)

    def close(self, request: CloseEpisodes) -> None:
        """Forget episodes, known or not."""
        self._forget(self._table.close(request.episodes))

    def expire(self) -> int:
        """Forget episodes that nobody asked about for too long; return how many."""
        expired = self._table.expire()
        self._forget(expired)
        return len(expired)

    async def wait_until_finished(self) -> None:
        """Return once every episode has come to its end, was closed or has expired."""
        while self._table.num_unfinished:
            self._changed.clear()
            await self._changed.wait()

    def statistics(self) -> EpisodesStatistics:
        """Counts of the episode table."""
        return self._table.statistics()

    async def _enter(self, request: OpenEpisodes, reference: str, version: str) -> EpisodesOpened | EpisodesRefused:
        admission = self._table.open(request.episodes, content=hashlib.sha256(pack(request)).digest())
        match admission:
            case Admit():
                return await self._make(request, reference, version)
            case Join(prompts) if prompts is not None:
                return prompts
            case Join():
                return await asyncio.shield(self._opening[request.episodes[0]])
            case Refuse(reason):
                return EpisodesRefused(kind=FailureKind.INFRA, reason=reason)

    async def _make(self, request: OpenEpisodes, reference: str, version: str) -> EpisodesOpened | EpisodesRefused:
        key = request.episodes[0]
        pending = self._opening[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._make_all(request, reference, version)
        except BaseException:
            self._forget(self._table.close(request.episodes))
            pending.cancel()
            raise
        finally:
            del self._opening[key]
        pending.set_result(answer)
        return answer

    async def _make_all(self, request: OpenEpisodes, reference: str, version: str) -> EpisodesOpened | EpisodesRefused:
        replies = await asyncio.gather(
            *(
                self._workers.open(episode, opening_of(request, reference, seed=seed))
                for episode, seed in zip(request.episodes, request.seeds, strict=True)
            )
        )
        failure = next((reply for reply in replies if isinstance(reply, Failed)), None)
        if failure is not None:
            self._forget(self._table.close(request.episodes))
            return EpisodesRefused(kind=failure.kind, reason=f"{failure.outcome}: {failure.reason}")
        prompts = [reply.messages for reply in replies if isinstance(reply, Opened)]
        are_equal = all(prompt == prompts[0] for prompt in prompts)
        answer = EpisodesOpened(prompts=tuple(prompts[:1] if are_equal else prompts), grader_version=version)
        self._table.opened(request.episodes, answer)
        return answer

    async def _score(self, request: StepEpisode) -> EpisodeStepped:
        opened = self._table.prompts_of(request.episode)
        version = opened.grader_version if opened is not None else ""
        pending = self._grading[request.episode] = asyncio.get_running_loop().create_future()
        try:
            reply = await self._workers.step(request.episode, request.action)
        except BaseException:
            self.close(CloseEpisodes(episodes=(request.episode,)))
            pending.cancel()
            raise
        finally:
            del self._grading[request.episode]
        answer = answer_of(request, reply)
        self._observe(version, answer)
        self._table.answered(request.episode, answer, event=_event_of(reply))
        self._changed.set()
        if answer.is_done:
            # Its answers are kept for repetition; its environment is not needed any more.
            self._workers.close((request.episode,))
        pending.set_result(answer)
        return answer

    def _forget(self, episodes: tuple[str, ...]) -> None:
        self._workers.close(episodes)
        self._changed.set()


def opening_of(request: OpenEpisodes, reference: str, *, seed: int) -> Opening:
    """Return what an environment is made from: the row's columns, its ground truth, the turn limit and the seed."""
    extras = with_ground_truth(request.extras, request.ground_truth)
    return Opening(
        grader=reference,
        messages=request.messages,
        extras={**extras, "max_turns": request.max_turns, "seed": seed},
    )


def answer_of(request: StepEpisode, reply: Stepped | Failed) -> EpisodeStepped:
    """Put a worker's reply into the words of the wire."""
    if isinstance(reply, Failed):
        return EpisodeStepped(
            episode=request.episode,
            turn=request.turn,
            outcome=reply.outcome,
            reason=reply.reason,
            kind=reply.kind,
            duration_s=reply.duration_s,
        )
    return EpisodeStepped(
        episode=request.episode,
        turn=request.turn,
        outcome=GradeOutcome.OK,
        duration_s=reply.duration_s,
        observations=reply.observations,
        reward=reply.reward,
        is_done=reply.is_done,
        postprocessed_action=reply.postprocessed_action,
        metrics=reply.metrics,
        extracted=reply.extracted,
        rule=reply.rule,
        scores=reply.scores,
    )


def refusal(request: StepEpisode, reason: str, *, kind: FailureKind) -> EpisodeStepped:
    """Return the answer to a turn that no environment has seen."""
    return EpisodeStepped(
        episode=request.episode,
        turn=request.turn,
        outcome=GradeOutcome.REFUSED,
        reason=reason,
        kind=kind,
    )


def _event_of(reply: Stepped | Failed) -> EpisodeEvent:
    if isinstance(reply, Failed):
        return EpisodeEvent.FAILED
    return EpisodeEvent.ENDED if reply.is_done else EpisodeEvent.ANSWERED
