"""Keeps this host's part of the wanted set of ranks: none, or exactly that one.

Owns the torchrun of this host. Reconciles: told the same again it does nothing, told of another set it first ends the
one that runs. How the wish comes here and how the report leaves is `service`'s business.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tetrad_learner import torchrun
from tetrad_runtime.exits import describe_exit
from tetrad_telemetry.logs import get_logger
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import RanksOrder, RanksReport

log = get_logger(__name__)

# They leave the process group and their shared memory in order; whoever waits for a dead peer is killed.
END_GRACE_S: Final = 8.0


class LocalPart:
    """The ranks of one host."""

    def __init__(
        self,
        *,
        me: Incarnation,
        run_dir: Path,
        environment: Mapping[str, str],
        on_change: Callable[[], None],
        on_started: Callable[[], object] = lambda: None,
    ) -> None:
        self._me = me
        self._run_dir = run_dir
        self._environment = environment
        self._on_change = on_change
        self._on_started = on_started
        self._wanted: RanksOrder | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._changed = asyncio.Event()
        self.report: RanksReport | None = None
        """Of the newest set that was asked for."""

    @property
    def is_running(self) -> bool:
        """Whether ranks run here."""
        return self._process is not None

    def follow(self, order: RanksOrder | None) -> None:
        """Note which set should run here; one that names other hosts means none."""
        mine = order if order is not None and self._me in order.hosts else None
        if mine != self._wanted:
            self._wanted = mine
            self._changed.set()

    async def run(self) -> None:
        """Reconcile until cancelled; then nothing runs any more."""
        try:
            while True:
                await self._until_changed()
                wanted = self._wanted
                # A set is started once: the coordinator makes a new one where it wants another attempt.
                if wanted is not None and self.report is not None and self.report.incarnation == wanted.incarnation:
                    continue
                await self._end()
                if wanted is not None:
                    await self._begin(wanted)
        finally:
            await self._end()

    async def _until_changed(self) -> None:
        """Wait for another wish, or for the end of what runs."""
        waits: set[asyncio.Task[Any]] = {asyncio.create_task(self._changed.wait())}
        if self._process is not None:
            waits.add(asyncio.create_task(self._process.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        self._changed.clear()
        if self._process is not None and self._process.returncode is not None:
            reason = f"its ranks ended: {describe_exit(self._process.returncode)}"
            await torchrun.kill(self._process)
            self._process = None
            self._say(is_running=False, reason=reason)

    async def _begin(self, order: RanksOrder) -> None:
        node = torchrun.Node(
            rank=1 + order.hosts.index(self._me), num_nodes=1 + len(order.hosts), rendezvous=order.rendezvous
        )
        part = torchrun.Part(
            set_name=order.incarnation,
            num_ranks=order.ranks_per_host,
            num_steps=order.num_steps,
            steps_per_epoch=order.steps_per_epoch,
            load=Path(order.load) if order.load else None,
            node=node,
            micro_batch_divisor=order.micro_batch_divisor,
        )
        self.report = RanksReport(incarnation=order.incarnation, is_running=True)
        try:
            self._process = await torchrun.start(part, run_dir=self._run_dir, environment=self._environment)
        except (OSError, TimeoutError) as error:
            self._say(is_running=False, reason=f"its ranks could not be started: {type(error).__name__}: {error}")
        else:
            log.info("ranks_started", set=order.incarnation, node=node.rank, pid=self._process.pid)
            self._on_started()
            self._on_change()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            # torchrun hands it on to its ranks.
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_GRACE_S):
                    await process.wait()
        await torchrun.kill(process)
        log.info("ranks_ended", set=self.report.incarnation if self.report else "")
        self._say(is_running=False, reason="they were asked to end")

    def _say(self, *, is_running: bool, reason: str) -> None:
        if self.report is not None:
            self.report = RanksReport(incarnation=self.report.incarnation, is_running=is_running, reason=reason)
        if not is_running:
            log.info("ranks_over", reason=reason)
        self._on_change()
