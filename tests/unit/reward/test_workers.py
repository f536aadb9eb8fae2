"""Real worker processes: what a hostile grader costs, and what becomes of the episodes beside it."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from tetrad_reward.requests import Failed, Loaded, Opened, Opening, Stepped
from tetrad_reward.supply import WorkerLimits, WorkersUnavailableError
from tetrad_reward.workers import Workers
from tetrad_wire.messages.episodes import GradeOutcome
from tetrad_wire.messages.leases import ChatMessage, FailureKind

GRADERS = Path(__file__).with_name("graders.py")
PATIENCE_S = 90.0


@contextlib.asynccontextmanager
async def a_pool(*attributes, num_workers=1, **limits):
    limits = {"deadline_s": 1.0, "load_deadline_s": PATIENCE_S, **limits}
    async with (
        asyncio.timeout(PATIENCE_S),
        Workers(num_workers=num_workers, limits=WorkerLimits(**limits)) as workers,
    ):
        for attribute in attributes:
            loaded = await workers.load(attribute, reference=f"{GRADERS}:{attribute}", config={})
            assert isinstance(loaded, Loaded), loaded
        yield workers


def an_opening(grader="hostile", ground_truth="3"):
    extras = {"reward_spec": {"ground_truth": ground_truth}}
    return Opening(grader=grader, messages=(ChatMessage("user", "hi"),), extras=extras)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


OUTCOMES = {
    "loop": (GradeOutcome.TIMEOUT, FailureKind.INFRA, "no answer within 3 s"),
    "sleep": (GradeOutcome.TIMEOUT, FailureKind.INFRA, "no answer within 3 s"),
    "exit": (GradeOutcome.CRASHED, FailureKind.DATA, "exit code 3"),
    "kill": (GradeOutcome.CRASHED, FailureKind.INFRA, "SIGKILL"),
    "sys_exit": (GradeOutcome.CRASHED, FailureKind.DATA, "SystemExit"),
    "raise": (GradeOutcome.CRASHED, FailureKind.DATA, "on purpose"),
    "allocate": (GradeOutcome.CRASHED, FailureKind.DATA, "MemoryError"),
    "text": (GradeOutcome.CRASHED, FailureKind.DATA, "must be a number"),
    "none": (GradeOutcome.CRASHED, FailureKind.DATA, "must be a number"),
    "nan": (GradeOutcome.CRASHED, FailureKind.DATA, "must be finite"),
    "write": (GradeOutcome.CRASHED, FailureKind.DATA, "worker"),
    "fork": (GradeOutcome.CRASHED, FailureKind.DATA, "exit code 0"),
    "fork_bomb": (GradeOutcome.TIMEOUT, FailureKind.INFRA, "no answer within 3 s"),
    "flood": (GradeOutcome.CRASHED, FailureKind.DATA, "16 MiB are printed"),
}


async def test_each_hostile_response_costs_one_grade_and_its_neighbours_nothing():
    # A busy machine must not make a time-out of what only crashes.
    async with a_pool("hostile", num_workers=2, deadline_s=3.0) as workers:
        hostile = {action: workers.grade(an_opening(), action) for action in OUTCOMES}
        neighbours = [workers.grade(an_opening(), f"fine {n}") for n in range(60)]
        # Interleaved, so that every hostile grade has innocent ones behind it in its worker.
        mixed = [neighbours[n : n + 4] for n in range(0, 60, 4)]
        order = [call for action, group in zip(hostile.values(), mixed, strict=False) for call in (action, *group)]
        rest = [call for group in mixed[len(hostile) :] for call in group]
        replies = dict(zip([*order, *rest], await asyncio.gather(*order, *rest), strict=True))

    for action, (outcome, kind, reason) in OUTCOMES.items():
        reply = replies[hostile[action]]
        assert isinstance(reply, Failed), action
        assert (reply.outcome, reply.kind) == (outcome, kind), (action, reply)
        assert reason in reply.reason, action
    assert all(isinstance(replies[call], Stepped) for call in neighbours)


async def test_what_a_grader_prints_is_no_reply():
    async with a_pool("hostile") as workers:
        reply = await workers.grade(an_opening(), "print")

    assert reply.reward == 1.0


async def test_the_deadline_is_that_of_the_grade_at_work_and_not_of_the_queue():
    async with a_pool("length", deadline_s=5.0) as workers:
        began = time.monotonic()
        replies = await asyncio.gather(*(workers.grade(an_opening("length"), "abc") for _ in range(2000)))

    assert {reply.reward for reply in replies} == {3.0}
    assert time.monotonic() - began < PATIENCE_S


async def test_an_episode_that_has_not_begun_is_made_again_when_its_worker_dies():
    async with a_pool("hostile", "ForgetfulCountdown") as workers:
        await workers.open("e", an_opening("ForgetfulCountdown"))
        await workers.grade(an_opening(), "exit")

        reply = await workers.step("e", "3")

    assert isinstance(reply, Stepped)
    assert reply.reward == 1.0


async def test_an_episode_that_can_be_replayed_goes_on_when_its_worker_dies():
    async with a_pool("hostile", "Countdown") as workers:
        await workers.open("e", an_opening("Countdown"))
        await workers.step("e", "3")
        await workers.step("e", "no")
        await workers.grade(an_opening(), "exit")

        reply = await workers.step("e", "1")
        statistics = workers.statistics()

    assert (reply.reward, reply.is_done, reply.metrics) == (1.0, True, {"tries": 3.0})
    assert statistics.replayed == 1


async def test_an_episode_that_cannot_be_replayed_is_crashed_and_never_scored():
    async with a_pool("hostile", "ForgetfulCountdown") as workers:
        await workers.open("e", an_opening("ForgetfulCountdown"))
        await workers.step("e", "3")
        await workers.grade(an_opening(), "exit")

        reply = await workers.step("e", "2")

    assert (reply.outcome, reply.kind) == (GradeOutcome.CRASHED, FailureKind.INFRA)
    assert "cannot be replayed" in reply.reason


async def test_a_replay_that_comes_out_otherwise_is_crashed():
    async with a_pool("hostile", "Fickle") as workers:
        await workers.open("e", an_opening("Fickle"))
        await workers.step("e", "3")
        await workers.grade(an_opening(), "exit")

        reply = await workers.step("e", "2")

    assert reply.outcome is GradeOutcome.CRASHED
    assert "turn 0 came out otherwise" in reply.reason


async def test_a_step_that_fails_ends_its_episode():
    async with a_pool("hostile") as workers:
        await workers.open("e", an_opening())
        await workers.step("e", "raise")

        reply = await workers.step("e", "fine")

    assert reply.outcome is GradeOutcome.REFUSED


async def test_a_grader_edited_meanwhile_is_refused_by_new_workers(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import os\ndef fn(response, ground_truth):\n    return 1.0 if response else os._exit(1)\n")
    async with a_pool() as workers:
        await workers.load("mine", reference=f"{path}:fn", config={})
        path.write_text("def fn(response, ground_truth):\n    return 2.0\n")
        # The spare worker may have loaded the old file, so two must die before only new ones are left.
        replies = [await workers.grade(an_opening("mine"), action) for action in ("", "", "x")]

    assert isinstance(replies[-1], Failed)
    assert replies[-1].outcome is GradeOutcome.REFUSED
    assert "while the service ran" in replies[-1].reason


async def test_an_unknown_grader_is_refused_as_the_datas_fault():
    async with a_pool() as workers:
        reply = await workers.load("x", reference="gsm9k", config={})

    assert (reply.outcome, reply.kind) == (GradeOutcome.REFUSED, FailureKind.DATA)
    assert "did you mean 'gsm8k'" in reply.reason


async def test_a_grader_that_hangs_on_import_is_timed_out(tmp_path):
    (tmp_path / "hangs.py").write_text("while True: pass\n")
    async with a_pool(load_deadline_s=0.5) as workers:
        reply = await workers.load("x", reference=f"{tmp_path}/hangs.py:fn", config={})

    assert reply.outcome is GradeOutcome.TIMEOUT


async def test_a_fork_bomb_ends_with_its_worker():
    async with a_pool("hostile") as workers:
        bombed = workers._supply.active[0].worker.pid
        grading = asyncio.ensure_future(workers.grade(an_opening(), "fork_bomb"))
        most = 0
        while not grading.done():
            most = max(most, len(group_of(bombed)))
            await asyncio.sleep(0.02)
        async with asyncio.timeout(PATIENCE_S):
            while group_of(bombed):  # noqa: ASYNC110 - the end of a process of another's raises no event
                await asyncio.sleep(0.02)

    assert grading.result().outcome is GradeOutcome.TIMEOUT
    assert most > 1


def group_of(leader):
    """Living processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            state, _parent, group = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            if int(group) == leader and state != "Z":
                found.append(entry.name)
    return found


async def test_no_process_is_left_behind():
    async with a_pool("hostile", num_workers=2) as workers:
        await workers.grade(an_opening(), "thread")
        await workers.grade(an_opening(), "fork")
        # The pool may just be replacing all of them.
        async with asyncio.timeout(30.0):
            while not (pids := [member.worker.pid for member in [*workers._supply.active, *workers._supply.spare]]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert not [pid for pid in pids if is_running(pid)]


async def test_workers_that_cannot_start_are_an_error_and_not_a_wait():
    # Not even the interpreter fits.
    async with a_pool(address_space_bytes=1 << 20, start_deadline_s=20.0) as workers:
        reply = await workers.load("gsm8k", reference="gsm8k", config={})
        with pytest.raises(WorkersUnavailableError, match="in a row failed"):
            await workers.watch()

    assert isinstance(reply, Failed)
    assert reply.kind is FailureKind.INFRA


async def test_equal_openings_show_equal_prompts():
    async with a_pool("Countdown", num_workers=2) as workers:
        replies = await asyncio.gather(*(workers.open(str(n), an_opening("Countdown")) for n in range(8)))
        statistics = workers.statistics()

    assert all(isinstance(reply, Opened) and reply == replies[0] for reply in replies)
    assert statistics.waiting == 0
