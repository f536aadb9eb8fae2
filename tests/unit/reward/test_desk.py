"""The three messages, over real workers and without a socket."""

import asyncio
import contextlib
from pathlib import Path

from tetrad_reward.choice import Choice
from tetrad_reward.desk import Desk
from tetrad_reward.supply import WorkerLimits
from tetrad_reward.workers import Workers
from tetrad_wire.messages.episodes import (
    CloseEpisodes,
    EpisodesOpened,
    EpisodesRefused,
    GradeOutcome,
    OpenEpisodes,
    StepEpisode,
)
from tetrad_wire.messages.leases import ChatMessage, FailureKind

GRADERS = Path(__file__).with_name("graders.py")


@contextlib.asynccontextmanager
async def a_desk(implementation="Countdown", **settings):
    choice = Choice(implementation=f"{GRADERS}:{implementation}" if implementation else None)
    async with (
        asyncio.timeout(30),
        Workers(num_workers=1, limits=WorkerLimits(deadline_s=5.0)) as workers,
    ):
        yield Desk(workers, choice, **settings)


def an_opening(*episodes, **fields):
    names = episodes or ("a", "b")
    return OpenEpisodes(
        **{
            "episodes": names,
            "env_class": "gsm8k",
            "messages": (ChatMessage("user", "hi"),),
            "ground_truth": "2",
            "seeds": tuple(range(len(names))),
            **fields,
        }
    )


def a_step(episode, turn, action):
    return StepEpisode(episode=episode, turn=turn, action=action)


async def test_a_group_plays_its_episodes_to_the_end():
    seen = []
    async with a_desk(observe=lambda version, answer: seen.append((version, answer))) as desk:
        opened = await desk.open(an_opening())
        first = await desk.step(a_step("a", 0, "2"))
        last = await desk.step(a_step("a", 1, "wrong"))

    assert isinstance(opened, EpisodesOpened)
    assert opened.prompts == ((ChatMessage("user", "hi"), ChatMessage("user", "Count down from 2.")),)
    assert (first.outcome, first.reward, first.is_done) == (GradeOutcome.OK, 1.0, False)
    assert first.observations == (ChatMessage("user", "1 left"),)
    assert (last.reward, last.is_done, last.metrics) == (0.0, True, {"tries": 2.0})
    assert seen == [(opened.grader_version, first), (opened.grader_version, last)]


async def test_repeated_messages_get_the_same_answer_and_grade_once():
    seen = []
    async with a_desk(observe=lambda version, answer: seen.append(answer)) as desk:
        openings = await asyncio.gather(*(desk.open(an_opening()) for _ in range(3)))
        steps = await asyncio.gather(*(desk.step(a_step("a", 0, "2")) for _ in range(3)))
        again = await desk.step(a_step("a", 0, "2"))

    assert openings[0] == openings[1] == openings[2]
    assert steps[0] == steps[1] == steps[2] == again
    assert len(seen) == 1


async def test_a_group_pinned_to_another_grader_is_refused():
    async with a_desk() as desk:
        reply = await desk.open(an_opening(grader_version="other-000000000000"))

    assert isinstance(reply, EpisodesRefused)
    assert "pinned to grader other-000000000000" in reply.reason
    assert reply.kind is FailureKind.INFRA


async def test_a_prompt_that_breaks_the_environment_opens_no_episode():
    async with a_desk() as desk:
        reply = await desk.open(an_opening(ground_truth="no number"))

        assert isinstance(reply, EpisodesRefused)
        assert reply.kind is FailureKind.DATA
        assert desk.statistics().held == 0


async def test_an_unknown_class_is_refused_as_the_datas_fault():
    async with a_desk(implementation=None) as desk:
        reply = await desk.open(an_opening(env_class="gsm9k"))

    assert isinstance(reply, EpisodesRefused)
    assert "did you mean 'gsm8k'" in reply.reason
    assert reply.kind is FailureKind.DATA


async def test_a_desk_that_drains_takes_no_new_episode_and_finishes_the_old():
    async with a_desk() as desk:
        await desk.open(an_opening("a"))
        desk.is_draining = True

        refused = await desk.open(an_opening("c"))
        await desk.step(a_step("a", 0, "2"))
        finished = asyncio.create_task(desk.wait_until_finished())
        await desk.step(a_step("a", 1, "1"))
        await finished

    assert isinstance(refused, EpisodesRefused)
    assert desk.room == 0


async def test_closing_forgets_the_group():
    async with a_desk() as desk:
        await desk.open(an_opening())

        desk.close(CloseEpisodes(episodes=("a", "b", "unknown")))
        reply = await desk.step(a_step("a", 0, "2"))

    assert reply.outcome is GradeOutcome.REFUSED
    assert reply.reward is None


async def test_silent_episodes_expire():
    now = [0.0]
    async with a_desk(idle_s=60.0, clock=lambda: now[0]) as desk:
        await desk.open(an_opening())
        now[0] = 61.0

        assert desk.expire() == 2


async def test_the_seed_and_the_turn_limit_reach_the_environment():
    async with a_desk(implementation="with_any_extras") as desk:
        await desk.open(an_opening("a", extras={"column": 1}))
        reply = await desk.step(a_step("a", 0, ""))

    assert reply.reward == 5.0  # column, reward_spec, max_turns, seed, prompt
