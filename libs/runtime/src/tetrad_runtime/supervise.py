"""Keeps the long-lived tasks of a service alive: each has a policy for the day it crashes.

Owns the task group, and with it the project's one broad `except`: foreign code may raise anything.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from tetrad_runtime.backoff import Backoff
from tetrad_runtime.clock import Clock, MonotonicClock
from tetrad_runtime.exits import Fault
from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)


class OnCrash(StrEnum):
    """What the crash of a task means."""

    FAIL = "fail"
    """The service ends with the error."""
    RESTART = "restart"
    """The task starts anew after a back-off, up to its bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One long-lived task."""

    name: str
    run: Callable[[], Awaitable[None]]
    """Starts the work; called again for each restart. Returning ends the job."""
    on_crash: OnCrash = OnCrash.FAIL
    backoff: Backoff = field(default_factory=Backoff)
    max_restarts: int = 10
    """Crashes in a row that are repaired; a run longer than `healthy_after_s` starts the count anew."""
    healthy_after_s: float = 60.0


async def supervise(jobs: Sequence[Job], *, clock: Clock | None = None) -> None:
    """Run all jobs; return when all have ended. A job that fails cancels the others and its error is raised.

    Errors come as an ExceptionGroup, as from any TaskGroup.
    """
    used = clock if clock is not None else MonotonicClock()
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(_keep_alive(job, used), name=job.name)


async def _keep_alive(job: Job, clock: Clock) -> None:
    restarts = 0
    while True:
        started = clock.now()
        try:
            await job.run()
        except Exception as error:
            lived_s = clock.now() - started
            restarts = 0 if lived_s > job.healthy_after_s else restarts
            await _recover(job, error, restarts=restarts, clock=clock)
            restarts += 1
        else:
            return


async def _recover(job: Job, error: Exception, *, restarts: int, clock: Clock) -> None:
    match job.on_crash:
        case OnCrash.FAIL:
            raise error
        case OnCrash.RESTART:
            # A fault with a name, for instance a wrong setting, will not go away by trying again.
            if isinstance(error, Fault) or restarts >= job.max_restarts:
                raise error
        case _:
            assert_never(job.on_crash)
    delay_s = job.backoff.delay_s(restarts)
    log.warning("job_restarted", job=job.name, restarts=restarts + 1, delay_s=delay_s, exc_info=error)
    await clock.sleep(delay_s)
