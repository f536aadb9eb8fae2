"""Keeps `num_workers` worker processes at work and one more warmed up, so that a killed one is replaced at once.

Owns the starting of workers and their count. Knows no episode; what a new worker must import is told by `warm_up`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Self

from tetrad_reward.worker import Worker, WorkerStartError
from tetrad_runtime.backoff import Backoff
from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)

# Starts in a row that may fail; then the machine, not the worker, has a problem.
MAX_FAILED_STARTS: Final = 5
SPARE_WORKERS: Final = 1
BACKOFF: Final = Backoff(first_s=0.1, limit_s=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What a worker may use."""

    deadline_s: float = 10.0
    """For one grade, or for making one environment, counted from when the worker comes to it."""
    load_deadline_s: float = 60.0
    """For importing a grader."""
    start_deadline_s: float = 30.0
    """For a worker process to come up, and for a request to find one."""
    address_space_bytes: int = 2 << 30
    """RLIMIT_AS of each worker; 0 sets none."""


class WorkersUnavailableError(Exception):
    """Worker processes do not start on this machine."""


@dataclass(slots=True, eq=False)
class Member:
    """A worker, and what it was given."""

    worker: Worker
    graders: set[str] = field(default_factory=set)
    """Names of the graders that it was told to load."""
    episodes: set[str] = field(default_factory=set)
    """Episodes whose environment lives there."""


class Supply:
    """Use as `async with Supply(…) as supply`."""

    def __init__(self, *, num_workers: int, limits: WorkerLimits, warm_up: Callable[[Member], Awaitable[None]]) -> None:
        self._num_workers = num_workers
        self._limits = limits
        self._warm_up = warm_up
        self._vacancies = asyncio.Semaphore(num_workers + SPARE_WORKERS)
        self._has_active = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failed_starts = 0
        self._leaving: set[Worker] = set()
        self.active: list[Member] = []
        """Workers that take requests."""
        self.spare: deque[Member] = deque()
        """Workers that wait for one of the active to leave."""
        self.starting = 0
        self.deaths = 0
        """Workers that left, or were killed, since the start."""

    async def __aenter__(self) -> Self:
        """Begin to start workers."""
        self._task = asyncio.create_task(self._run(), name="worker-supply")
        # Wakes whoever waits for a worker that will never come.
        self._task.add_done_callback(lambda _task: self._has_active.set())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Let every worker leave; kill those that do not."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        present = [member.worker for member in (*self.active, *self.spare)]
        await asyncio.gather(*(worker.stop() for worker in [*present, *self._leaving]))

    async def wait_for_active(self) -> None:
        """Return once there is a worker; raises WorkersUnavailableError if none comes, or none in time."""
        if self.active:
            return
        try:
            async with asyncio.timeout(self._limits.start_deadline_s):
                while not self.active:
                    await self._has_active.wait()
                    self._raise_if_broken()
        except TimeoutError:
            raise WorkersUnavailableError(f"no worker within {self._limits.start_deadline_s:g} s") from None

    async def watch(self) -> None:
        """Wait until workers cannot be started any more; raises WorkersUnavailableError then."""
        assert self._task is not None
        await asyncio.wait({self._task})
        self._raise_if_broken()

    def _raise_if_broken(self) -> None:
        assert self._task is not None
        if not self._task.done() or self._task.cancelled():
            return
        error = self._task.exception()
        reasons = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
        raise WorkersUnavailableError(str(reasons[0])) from error

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._vacancies.acquire()
                tasks.create_task(self._add_one(), name="worker-start")

    async def _add_one(self) -> None:
        self.starting += 1
        try:
            member = await self._started()
        finally:
            self.starting -= 1
        if member.worker.has_left:
            self._vacancies.release()
            return
        self.spare.append(member)
        self._promote()

    async def _started(self) -> Member:
        while True:
            try:
                worker = await Worker.start(
                    on_leaving=self._forget,
                    address_space_bytes=self._limits.address_space_bytes,
                    timeout_s=self._limits.start_deadline_s,
                )
            except (WorkerStartError, OSError) as error:
                await self._pause_after(error)
                continue
            self._failed_starts = 0
            member = Member(worker)
            await self._warm_up(member)
            return member

    async def _pause_after(self, error: Exception) -> None:
        self._failed_starts += 1
        log.warning("worker_start_failed", error=str(error), attempt=self._failed_starts)
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise WorkersUnavailableError(f"{self._failed_starts} worker starts in a row failed; the last: {error}")
        await asyncio.sleep(BACKOFF.delay_s(self._failed_starts - 1))

    def _promote(self) -> None:
        while self.spare and len(self.active) < self._num_workers:
            self.active.append(self.spare.popleft())
        if self.active:
            self._has_active.set()
        else:
            self._has_active.clear()

    def _forget(self, worker: Worker) -> None:
        self._leaving.add(worker)
        worker.exited.add_done_callback(lambda _exited: self._leaving.discard(worker))
        gone = next((member for member in (*self.active, *self.spare) if member.worker is worker), None)
        if gone is None:
            return
        (self.active if gone in self.active else self.spare).remove(gone)
        self.deaths += 1
        self._vacancies.release()
        self._promote()
