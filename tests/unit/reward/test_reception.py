import asyncio
import contextlib
from pathlib import Path

from tetrad_reward.choice import Choice
from tetrad_reward.desk import Desk
from tetrad_reward.reception import Reception
from tetrad_reward.supply import WorkerLimits
from tetrad_reward.workers import Workers
from tetrad_transport import MemoryTransport
from tetrad_wire.messages.episodes import EpisodesRefused, EpisodeStepped, GradeOutcome, OpenEpisodes, StepEpisode
from tetrad_wire.messages.leases import ChatMessage, FailureKind
from tetrad_wire.messages.membership import Bye

GRADERS = Path(__file__).with_name("graders.py")
PATIENCE_S = 20.0


@contextlib.asynccontextmanager
async def a_reception(attribute="hostile", **settings):
    transport = MemoryTransport()
    choice = Choice(implementation=f"{GRADERS}:{attribute}")
    limits = WorkerLimits(deadline_s=1.0)
    async with asyncio.timeout(PATIENCE_S), Workers(num_workers=1, limits=limits) as workers:
        reception = Reception(transport.listen("reward"), Desk(workers, choice), **settings)
        running = asyncio.create_task(reception.run())
        yield reception, transport.connect("reward", name="rollout")
        running.cancel()
        await asyncio.wait({running})


def an_opening(*episodes):
    return OpenEpisodes(
        episodes=episodes,
        env_class="x",
        messages=(ChatMessage("user", "hi"),),
        ground_truth=None,
        seeds=tuple(range(len(episodes))),
    )


def a_step(episode, action):
    return StepEpisode(episode=episode, turn=0, action=action)


async def eventually(is_so):
    for _ in range(int(PATIENCE_S / 0.005)):
        if is_so():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"not so within {PATIENCE_S} s")


async def test_requests_beyond_the_bound_are_refused_at_once_and_the_others_served():
    async with a_reception(max_requests=1) as (reception, rollout):
        await rollout.request(an_opening("a", "b"), timeout_s=PATIENCE_S)
        slow = asyncio.create_task(rollout.request(a_step("a", "loop"), timeout_s=PATIENCE_S))
        await eventually(lambda: reception.num_requests == 1)
        refused = await rollout.request(a_step("b", "fine"), timeout_s=PATIENCE_S)
        opening = await rollout.request(an_opening("c"), timeout_s=PATIENCE_S)

        assert not slow.done()
        assert isinstance(refused, EpisodeStepped)
        assert (refused.outcome, refused.kind) == (GradeOutcome.REFUSED, FailureKind.INFRA)
        assert isinstance(opening, EpisodesRefused)
        assert (await slow).outcome is GradeOutcome.TIMEOUT
        assert (await rollout.request(a_step("b", "fine"), timeout_s=PATIENCE_S)).reward == 1.0
        assert reception.counts.refused == 2


async def test_a_message_that_is_none_of_its_business_is_counted():
    async with a_reception() as (reception, rollout):
        rollout.send_nowait(Bye(incarnation="x", reason="wrong door"))
        await rollout.request(an_opening("a"), timeout_s=PATIENCE_S)

        assert reception.counts.unexpected == 1


async def test_an_answer_for_a_rollout_that_has_gone_is_dropped():
    async with a_reception() as (reception, rollout):
        await rollout.request(an_opening("a"), timeout_s=PATIENCE_S)
        rollout.send_nowait(a_step("a", "sleep"))
        await eventually(lambda: reception.num_requests == 1)
        rollout.close()
        await eventually(lambda: reception.num_requests == 0)

        assert reception.counts.undelivered == 1
