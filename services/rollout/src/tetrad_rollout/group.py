"""Produces one leased group: opens its episodes, generates, has each turn scored, hands over each finished sample.

Owns nothing beyond the lease. A sample that fails is reported as failed; a reward is never made up.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tetrad_rollout.engine.errors import EngineError, InvalidRequestError
from tetrad_rollout.engine.protocol import (
    Engine,
    FinishReason,
    GeneratedSample,
    GenerationRequest,
    Progress,
    RequestId,
    Sampling,
)
from tetrad_rollout.rendering import PromptTooLongError, Renderer, RenderingError
from tetrad_rollout.rewards import EpisodeRefusedError, Replica, ReplicaLostError, RewardPool
from tetrad_rollout.seeds import environment_seed, turn_seed
from tetrad_rollout.trajectory import Ids, Trajectory
from tetrad_telemetry.logs import get_logger
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages import leases as wire
from tetrad_wire.messages.episodes import EpisodesOpened, EpisodeStepped, GradeOutcome, OpenEpisodes, StepEpisode
from tetrad_wire.messages.leases import FailureKind, LeaseGranted, SampleFinished
from tetrad_wire.scores import MAX_SCORES

log = get_logger(__name__)

# Attempts of one sample on reward replicas that die; each begins at turn 0.
MAX_EPISODE_ATTEMPTS: Final = 4
# Name under which a sample's metrics keep the reward that `generator.zero_reward_on_non_stop` has taken.
FORFEITED: Final = "forfeited_reward"
# A grade has its own deadline at the replica; beyond it and this the replica is taken for lost.
GRADE_SLACK_S: Final = 15.0


class SampleFailedError(Exception):
    """A sample cannot be finished here; `kind` says whose fault it is."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What every group is produced with."""

    engine: Engine
    renderer: Renderer
    rewards: RewardPool
    incarnation: Incarnation
    grade_timeout_s: float
    max_input_length: int
    """Tokens of prompt and earlier turns at most; a sample that would need more ends as cut off."""
    is_non_stop_zeroed: bool
    """Whether a sample that did not end by itself is rewarded 0, whatever the grader said."""
    deliver: Callable[[SampleFinished], None]


@dataclass(frozen=True, slots=True)
class Seat:
    """One sample's episode: where it lives and what the policy is shown first."""

    position: int
    """Into the lease's indices and seeds."""
    episode: str
    replica: Replica
    grader_version: str
    prompt_ids: Ids


FirstTurns = dict[int, "asyncio.Future[GeneratedSample]"]


@dataclass(slots=True)
class GroupJob:
    """One lease under way."""

    lease: LeaseGranted
    shop: Workshop
    progress: int = 0
    """Tokens and turns so far: renews the lease."""
    started_at: float = field(default_factory=time.monotonic)
    failures: list[SampleFailedError] = field(default_factory=list)
    grading: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Episode whose turn waits for its grade → since when, and at which replica."""
    _open_episodes: dict[str, Replica] = field(default_factory=dict)

    async def run(self) -> SampleFailedError | None:
        """Produce every sample of the lease; return the worst failure, or None if all were delivered."""
        try:
            seats = await self._open(range(len(self.lease.indices)), attempt=0)
            async with asyncio.TaskGroup() as tasks:
                first_turns = self._generate_first_turns(seats, tasks)
                for seat in seats:
                    tasks.create_task(self._sample(seat, first_turns))
        except* (SampleFailedError, ReplicaLostError, RenderingError) as group:
            self.failures.extend(as_failure(error) for error in group.exceptions)
        finally:
            self._close_episodes()
        return max(self.failures, key=lambda failure: failure.kind is FailureKind.DATA, default=None)

    async def _open(self, positions: Sequence[int], *, attempt: int) -> list[Seat]:
        """Open episodes for some samples, all on one replica."""
        lease, prompt = self.lease, self.lease.prompt
        replica = await self.shop.rewards.choose(
            prompt.env_class, grader_version=lease.grader_version, timeout_s=lease.progress_timeout_s / 2
        )
        episodes = [f"{lease.token}-{lease.indices[position]}-{attempt}" for position in positions]
        opened = await self._ask_to_open(replica, episodes, positions)
        self._open_episodes |= dict.fromkeys(episodes, replica)
        prompts = [self._render(messages) for messages in opened.prompts]
        return [
            Seat(position, episode, replica, opened.grader_version, prompts[min(place, len(prompts) - 1)])
            for place, (position, episode) in enumerate(zip(positions, episodes, strict=True))
        ]

    async def _ask_to_open(self, replica: Replica, episodes: Sequence[str], positions: Sequence[int]) -> EpisodesOpened:
        lease, prompt = self.lease, self.lease.prompt
        request = OpenEpisodes(
            episodes=tuple(episodes),
            env_class=prompt.env_class,
            messages=prompt.messages,
            ground_truth=prompt.ground_truth,
            extras=prompt.extras,
            seeds=tuple(environment_seed(lease.seeds[position]) for position in positions),
            max_turns=lease.max_turns,
            grader_version=lease.grader_version,
        )
        try:
            return await replica.open(request)
        except EpisodeRefusedError as error:
            raise SampleFailedError(error.kind, str(error)) from error

    def _render(self, messages: Sequence[wire.ChatMessage]) -> Ids:
        return self.shop.renderer.prompt(_plain(messages))

    def _close_episodes(self) -> None:
        """Give up what was opened and not delivered, so that its place at the replica is free."""
        for episode, replica in self._open_episodes.items():
            replica.close_episodes([episode])
        self._open_episodes.clear()

    # ---- first turns, together

    def _generate_first_turns(self, seats: Sequence[Seat], tasks: asyncio.TaskGroup) -> FirstTurns:
        """Ask for the first turn of all samples; those with one prompt share its prefix."""
        loop = asyncio.get_running_loop()
        futures: FirstTurns = {seat.position: loop.create_future() for seat in seats}
        by_prompt: dict[bytes, list[Seat]] = {}
        for seat in seats:
            by_prompt.setdefault(seat.prompt_ids.tobytes(), []).append(seat)
        for number, sharing in enumerate(by_prompt.values()):
            tasks.create_task(self._generate_together(number, sharing, futures))
        return futures

    async def _generate_together(self, number: int, seats: Sequence[Seat], futures: FirstTurns) -> None:
        request = self._request(f"p{number}", seats[0].prompt_ids, [self.lease.seeds[seat.position] for seat in seats])

        def on_progress(progress: Progress) -> None:
            self.progress += 1
            for place, sample in progress.finished:
                _settle(futures[seats[place].position], sample)

        try:
            samples = await self.shop.engine.generate(request, on_progress)
        except EngineError as error:
            for seat in seats:
                if not futures[seat.position].done():
                    futures[seat.position].set_exception(error)
        else:
            for seat, sample in zip(seats, samples, strict=True):
                _settle(futures[seat.position], sample)

    def _request(self, name: str, prompt_ids: Ids, seeds: Sequence[int]) -> GenerationRequest:
        sampling = self.lease.sampling
        return GenerationRequest(
            request_id=RequestId(f"{self.lease.token}-{name}"),
            prompt_ids=prompt_ids,
            seeds=tuple(seeds),
            sampling=Sampling(
                max_new_tokens=sampling.max_generate_length,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                min_p=sampling.min_p,
                stop_strings=sampling.stop,
                stop_token_ids=sampling.stop_token_ids,
            ),
        )

    # ---- one sample

    async def _sample(self, seat: Seat, first_turns: FirstTurns) -> None:
        try:
            await self._attempts(seat, first_turns)
        except (SampleFailedError, ReplicaLostError, RenderingError, EngineError) as error:
            self.failures.append(as_failure(error))

    async def _attempts(self, seat: Seat, first_turns: FirstTurns) -> None:
        for attempt in range(1, MAX_EPISODE_ATTEMPTS + 1):
            try:
                return await self._episode(seat, await first_turns[seat.position])
            except ReplicaLostError as error:
                log.warning("episode_lost", draw=self.lease.draw, attempt=attempt, reason=str(error))
            # The same prompt and seed give the same first turn: it need not be generated again.
            (again,) = await self._open([seat.position], attempt=attempt)
            if not np.array_equal(again.prompt_ids, seat.prompt_ids):
                raise SampleFailedError(FailureKind.INFRA, "the episode began anew with another prompt")
            seat = again
        raise SampleFailedError(FailureKind.INFRA, f"{MAX_EPISODE_ATTEMPTS} episodes were lost")

    async def _episode(self, seat: Seat, first_turn: GeneratedSample) -> None:
        trajectory = Trajectory(seat.prompt_ids)
        sample, metrics = first_turn, dict[str, float]()
        while True:
            if sample.finish_reason is FinishReason.ABORTED:
                raise SampleFailedError(FailureKind.INFRA, "the engine aborted the request")
            trajectory.act(sample)
            action = self.shop.renderer.text(sample.token_ids, stop_strings=self.lease.sampling.stop)
            graded = await self._grade(seat, trajectory.num_turns - 1, action)
            metrics |= graded.metrics
            assert graded.reward is not None, "a grade without a reward was refused above"
            trajectory.reward(graded.reward, graded.scores)
            if len(trajectory.scores) > MAX_SCORES:
                reason = f"{len(trajectory.scores)} names of extra scores in one episode; the limit is {MAX_SCORES}"
                raise SampleFailedError(FailureKind.DATA, reason)
            self.progress += 1
            if graded.is_done or trajectory.num_turns >= self.lease.max_turns:
                # One that ends by our bound stays open at its replica until the group closes it.
                if graded.is_done and self._open_episodes.pop(seat.episode, None) is not None:
                    seat.replica.num_episodes -= 1
                return self._deliver(seat, trajectory, metrics, response=action)
            observed = self.shop.renderer.observation(_plain(graded.observations), after=trajectory.ids)
            if len(trajectory.ids) + len(observed) > self.shop.max_input_length:
                # The environment would go on, but no turn fits behind what it says. Its episode is closed at the end.
                trajectory.cut_off()
                return self._deliver(seat, trajectory, metrics, response=action)
            trajectory.observe(observed)
            sample = await self._next_turn(seat, trajectory)

    async def _grade(self, seat: Seat, turn: int, action: str) -> EpisodeStepped:
        request = StepEpisode(episode=seat.episode, turn=turn, action=action)
        self.grading[seat.episode] = time.monotonic(), seat.replica.route.name
        try:
            graded = await seat.replica.step(request, timeout_s=self.shop.grade_timeout_s + GRADE_SLACK_S)
        finally:
            del self.grading[seat.episode]
        if graded.outcome is not GradeOutcome.OK or graded.reward is None:
            raise SampleFailedError(graded.kind, f"grade {graded.outcome.value}: {graded.reason}")
        return graded

    async def _next_turn(self, seat: Seat, trajectory: Trajectory) -> GeneratedSample:
        turn = trajectory.num_turns
        seed = turn_seed(self.lease.seeds[seat.position], turn)
        request = self._request(f"s{seat.position}t{turn}", trajectory.ids, [seed])

        def on_progress(_progress: Progress) -> None:
            self.progress += 1

        (sample,) = await self.shop.engine.generate(request, on_progress)
        return sample

    def _deliver(self, seat: Seat, trajectory: Trajectory, metrics: dict[str, float], *, response: str) -> None:
        lease = self.lease
        if self.shop.is_non_stop_zeroed and trajectory.finish_reason is not FinishReason.STOP:
            # A rule of the run, not a grade: what was graded stays with the sample.
            metrics = metrics | {FORFEITED: trajectory.forfeit()}
        self.shop.deliver(
            SampleFinished(
                token=lease.token,
                nonce=lease.nonce,
                lane=lease.lane,
                round=lease.round,
                draw=lease.draw,
                index=lease.indices[seat.position],
                incarnation=self.shop.incarnation,
                prompt_length=len(seat.prompt_ids),
                finish_reason=wire.FinishReason(trajectory.finish_reason.value),
                num_turns=trajectory.num_turns,
                spans=trajectory.merged_spans(),
                grader_version=seat.grader_version,
                metrics=metrics,
                scores=trajectory.scores,
                response=response,
                seconds=time.monotonic() - self.started_at,
                **trajectory.arrays(),
            )
        )


def as_failure(error: BaseException) -> SampleFailedError:
    """Whose fault an error is."""
    match error:
        case SampleFailedError():
            return error
        case PromptTooLongError():
            return SampleFailedError(FailureKind.DATA, f"prompt_too_long: {error}")
        case RenderingError() | InvalidRequestError():
            return SampleFailedError(FailureKind.DATA, str(error))
        case _:
            return SampleFailedError(FailureKind.INFRA, f"{type(error).__name__}: {error}")


def _plain(messages: Sequence[wire.ChatMessage]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _settle(future: "asyncio.Future[GeneratedSample]", sample: GeneratedSample) -> None:
    if not future.done():
        future.set_result(sample)
