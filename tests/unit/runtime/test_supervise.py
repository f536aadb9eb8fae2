"""A crashed task is restarted or ends the service, as its policy says."""

import asyncio

import pytest

from tetrad_runtime.backoff import Backoff
from tetrad_runtime.exits import ConfigFault
from tetrad_runtime.supervise import Job, OnCrash, supervise
from tetrad_testing.clock import FakeClock


class Crasher:
    """Raises what it is given, run by run, then returns."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.runs = 0

    async def __call__(self):
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)


def a_job(run, **changes):
    return Job(
        name="job", run=run, **{"on_crash": OnCrash.RESTART, "backoff": Backoff(first_s=1, limit_s=4), **changes}
    )


async def test_a_job_that_may_restart_runs_again_after_each_backoff():
    clock, job = FakeClock(), Crasher(ValueError("1"), ValueError("2"))
    running = asyncio.create_task(supervise([a_job(job)], clock=clock))

    runs = []
    for delay_s in (0, 1, 2):
        clock.advance(delay_s)
        await clock.settle()
        runs.append(job.runs)

    assert runs == [1, 2, 3]
    assert running.done()


async def test_a_job_that_must_not_crash_ends_the_service_and_the_others():
    other = asyncio.Event()

    async def wait_for_ever():
        try:
            await asyncio.Event().wait()
        finally:
            other.set()

    jobs = [a_job(Crasher(ValueError("broken")), on_crash=OnCrash.FAIL), a_job(wait_for_ever)]
    with pytest.raises(ExceptionGroup) as caught:
        await supervise(jobs)

    assert str(caught.value.exceptions[0]) == "broken"
    assert other.is_set()


async def test_restarts_have_a_bound():
    clock, job = FakeClock(), Crasher(*[ValueError(str(n)) for n in range(9)])
    running = asyncio.create_task(supervise([a_job(job, max_restarts=2)], clock=clock))

    for _ in range(5):
        await clock.settle()
        clock.advance(4)

    assert job.runs == 3
    assert isinstance(running.exception(), ExceptionGroup)


async def test_a_fault_with_a_name_is_not_tried_again():
    job = Crasher(ConfigFault("wrong"))

    with pytest.raises(ExceptionGroup):
        await supervise([a_job(job)], clock=FakeClock())

    assert job.runs == 1


async def test_a_healthy_spell_starts_the_count_anew():
    clock = FakeClock()
    runs = []

    async def lives_long():
        runs.append(clock.now())
        await clock.sleep(100)
        raise ValueError("again")

    running = asyncio.create_task(supervise([a_job(lives_long, max_restarts=1, healthy_after_s=60)], clock=clock))
    for _ in range(6):
        await clock.settle()
        clock.advance(101)
    running.cancel()

    assert len(runs) >= 3
