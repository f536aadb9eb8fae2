"""Ends of samples: what does not fit is cut off, what did not stop by itself may lose its reward."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from unit.rollout.engine_builders import END_ID, SYMBOLS, a_tokenizer

from tetrad_rollout.engine.protocol import FinishReason, GeneratedSample
from tetrad_rollout.engine.protocol import VersionSpan as EngineSpan
from tetrad_rollout.group import GroupJob, Workshop
from tetrad_rollout.rendering import Renderer
from tetrad_rollout.rewards import RewardPool
from tetrad_testing.builders.leases import a_lease
from tetrad_transport import MemoryTransport
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.episodes import (
    CloseEpisodes,
    EpisodesOpened,
    EpisodeStepped,
    GradeOutcome,
    OpenEpisodes,
    StepEpisode,
)
from tetrad_wire.messages.leases import ChatMessage, FailureKind
from tetrad_wire.messages.leases import FinishReason as WireFinishReason
from tetrad_wire.messages.membership import EnvironmentOffer, RewardOffer, RewardRoute

ENDPOINT = "memory://reward"
GRADER = "arithmetic-1"
GOING_ON = "again"


class Speaker:
    """An engine that always says the same."""

    def __init__(self, text: str, finish_reason: FinishReason) -> None:
        ids = [SYMBOLS.index(letter) for letter in text]
        self.ids = np.array([*ids, END_ID] if finish_reason is FinishReason.STOP else ids, np.int32)
        self.finish_reason = finish_reason
        self.contexts: list[int] = []

    async def generate(self, request, on_progress=None):
        self.contexts.append(len(request.prompt_ids))
        span = EngineSpan(version=1, length=len(self.ids))
        logprobs = np.full(len(self.ids), -0.5, np.float32)
        one = GeneratedSample(token_ids=self.ids, logprobs=logprobs, finish_reason=self.finish_reason, spans=(span,))
        return tuple(one for _ in request.seeds)


class Judge:
    """A reward replica that gives every turn 1 and never calls an episode done."""

    def __init__(self, listener) -> None:
        self.listener = listener
        self.scores = {}
        self.closed: list[str] = []
        self.has_closed_two = asyncio.Event()
        self.is_slow, self.held, self.holds_two = False, set(), asyncio.Event()

    async def run(self) -> None:
        while True:
            delivery = await self.listener.receive()
            body = delivery.message.body
            if isinstance(body, CloseEpisodes):
                self.closed += body.episodes
                if len(self.closed) == 2:
                    self.has_closed_two.set()
            elif self.is_slow and isinstance(body, StepEpisode):
                self.held.add(body.episode)
                if len(self.held) == 2:
                    self.holds_two.set()
            else:
                self.listener.send_nowait(delivery.peer, self.answer(body), reply_to=delivery.message.id)

    def answer(self, body):
        match body:
            case OpenEpisodes():
                return EpisodesOpened(prompts=(body.messages,), grader_version=GRADER)
            case StepEpisode():
                return EpisodeStepped(
                    episode=body.episode,
                    turn=body.turn,
                    outcome=GradeOutcome.OK,
                    reward=1.0,
                    is_done=False,
                    observations=(ChatMessage("user", GOING_ON),),
                    scores=self.scores,
                )


@asynccontextmanager
async def a_workshop(engine, **changes):
    """A workshop with one reward replica; yields it, the replica, and what was delivered."""
    transport = MemoryTransport()
    judge = Judge(transport.listen(ENDPOINT))
    serving = asyncio.create_task(judge.run())
    rewards = RewardPool(transport, name="rollout-0")
    offer = RewardOffer(environments=(EnvironmentOffer(name="arithmetic", grader_version=GRADER),), credit=64)
    rewards.follow([RewardRoute(name="reward-0", incarnation=Incarnation("r"), endpoint=ENDPOINT, offer=offer)])
    delivered = []
    parts = {
        "engine": engine,
        "renderer": Renderer(a_tokenizer(), max_prompt_length=100),
        "rewards": rewards,
        "incarnation": Incarnation("e"),
        "grade_timeout_s": 5.0,
        "max_input_length": 1000,
        "is_non_stop_zeroed": False,
        "deliver": delivered.append,
    }
    try:
        yield Workshop(**parts | changes), judge, delivered
    finally:
        serving.cancel()
        rewards.close()


def a_two_turn_lease():
    prompt = a_lease().prompt
    messages = (ChatMessage("user", "hello"),)
    return a_lease(prompt=type(prompt)(messages=messages, env_class="arithmetic", ground_truth="x"), max_turns=2)


async def test_turns_that_wait_for_a_grade_are_known_by_replica_until_the_group_is_given_up():
    engine = Speaker("no", FinishReason.STOP)
    async with a_workshop(engine) as (shop, judge, _):
        judge.is_slow = True
        job = GroupJob(a_two_turn_lease(), shop)
        task = asyncio.create_task(job.run())
        async with asyncio.timeout(5):
            await judge.holds_two.wait()
        waiting = {replica for _since, replica in job.grading.values()}, len(job.grading)
        task.cancel()
        await asyncio.wait({task})

    assert waiting == ({"reward-0"}, 2)
    assert job.grading == {}


async def test_a_next_turn_that_fits_is_generated():
    engine = Speaker("no", FinishReason.STOP)
    async with a_workshop(engine) as (shop, judge, delivered):
        failure = await GroupJob(a_two_turn_lease(), shop).run()

    assert failure is None
    assert [(sample.num_turns, sample.finish_reason) for sample in delivered] == [(2, WireFinishReason.STOP)] * 2
    assert judge.closed == []


async def test_a_sample_without_room_for_another_turn_ends_as_cut_off_and_gives_its_episode_up():
    engine = Speaker("no", FinishReason.STOP)
    async with a_workshop(engine) as (shop, _, whole):
        await GroupJob(a_two_turn_lease(), shop).run()
    longest = max(engine.contexts)

    async with a_workshop(engine, max_input_length=longest) as (shop, _, fitting):
        await GroupJob(a_two_turn_lease(), shop).run()
    async with a_workshop(engine, max_input_length=longest - 1) as (shop, judge, cut):
        failure = await GroupJob(a_two_turn_lease(), shop).run()
        async with asyncio.timeout(5):
            await judge.has_closed_two.wait()

    assert failure is None
    assert [sample.num_turns for sample in (*whole, *fitting, *cut)] == [2, 2, 2, 2, 1, 1]
    assert {sample.finish_reason for sample in cut} == {WireFinishReason.LENGTH}
    # Nothing follows the last sampled token: what the environment would have said is not in it.
    assert all(sample.loss_mask[-1] == 1 for sample in cut)
    assert [sample.reward for sample in cut] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("finish_reason", "is_zeroed", "reward"),
    [
        (FinishReason.STOP, True, 1.0),
        (FinishReason.LENGTH, True, 0.0),
        (FinishReason.LENGTH, False, 1.0),
    ],
)
async def test_a_sample_that_did_not_stop_by_itself_loses_its_reward_where_that_is_asked_for(
    finish_reason, is_zeroed, reward
):
    engine = Speaker("no", finish_reason)
    async with a_workshop(engine, is_non_stop_zeroed=is_zeroed) as (shop, judge, delivered):
        judge.scores = {"strict": 1.0}
        await GroupJob(a_lease(), shop).run()

    assert [sample.reward for sample in delivered] == [reward, reward]
    assert [sample.scores for sample in delivered] == [{"strict": reward}] * 2
    assert [len(sample.reward_positions) for sample in delivered] == [1, 1]


async def test_extra_scores_add_up_over_turns_as_rewards_do():
    async with a_workshop(Speaker("no", FinishReason.STOP)) as (shop, judge, delivered):
        judge.scores = {"strict": -0.5, "flexible": 1.0}
        await GroupJob(a_two_turn_lease(), shop).run()

    assert [sample.scores for sample in delivered] == [{"strict": -1.0, "flexible": 2.0}] * 2


async def test_an_episode_with_ever_new_names_of_scores_is_the_datas_fault():
    async with a_workshop(Speaker("no", FinishReason.STOP)) as (shop, judge, delivered):
        answer = judge.answer

        def renamed(body):
            if isinstance(body, StepEpisode):
                judge.scores = {f"t{body.turn}_{number}": 1.0 for number in range(5 - body.turn)}
            return answer(body)

        judge.answer = renamed
        failure = await GroupJob(a_two_turn_lease(), shop).run()

    assert failure is not None
    assert (failure.kind, str(failure)) == (
        FailureKind.DATA,
        "9 names of extra scores in one episode; the limit is 8",
    )
    assert delivered == []


async def test_a_reward_that_is_lost_is_kept_beside_the_sample():
    async with a_workshop(Speaker("no", FinishReason.LENGTH), is_non_stop_zeroed=True) as (shop, _, delivered):
        await GroupJob(a_lease(), shop).run()

    assert [sample.metrics["forfeited_reward"] for sample in delivered] == [1.0, 1.0]


async def test_a_reward_that_is_not_lost_needs_no_record():
    async with a_workshop(Speaker("no", FinishReason.STOP), is_non_stop_zeroed=True) as (shop, _, delivered):
        await GroupJob(a_lease(), shop).run()

    assert not any("forfeited_reward" in sample.metrics for sample in delivered)
