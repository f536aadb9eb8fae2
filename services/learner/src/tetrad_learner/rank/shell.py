"""The loop of one rank: take an order, do it on all ranks alike, report.

Owns the trainer and, on rank 0, the publisher. Decides nothing.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tetrad_learner.publishing import Published, Publisher, PublishError
from tetrad_learner.rank.device_copies import DeviceCopies, DeviceCopy
from tetrad_learner.rank.evidence import write_evidence
from tetrad_learner.rank.exports import Exports
from tetrad_learner.rank.link import Link
from tetrad_learner.rank.memory import memory_figures
from tetrad_learner.rank.shared_fill import SharedFill
from tetrad_learner.rank.step_warnings import warn_about, warn_of_shortage
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.checkpoint_copy import CheckpointWriter
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import NonFiniteError
from tetrad_learner.trainer.progress import Progress
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Connection, PublicKey, ZmqTransport
from tetrad_weights.canary import canary_tokens
from tetrad_weights.digest import DigestAlgorithm
from tetrad_weights.errors import WeightsError
from tetrad_wire import WireError
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import MemoryFigures
from tetrad_wire.messages.steps import (
    CheckpointCopied,
    CheckpointFailed,
    CheckpointSaved,
    ExecuteStep,
    MoveState,
    PublishFailed,
    PublishWeights,
    SaveCheckpoint,
    StateMoved,
    StatePlace,
    StepCredited,
    StepExecuted,
    StepFailed,
    StepProgressed,
    WeightsPublished,
)
from tetrad_wire.messages.weights import AdapterSpec, Canary

log = get_logger(__name__)

Figures = Callable[[], MemoryFigures]
"""What this rank holds at the moment, where learner and engines share their GPUs."""
PUBLISH_SLACK_S: Final = 30.0
# For a checkpoint that is nearly written when the ranks are told to leave; less than the grace that they get.
WRITE_GRACE_S: Final = 5.0


class RankShell:
    """Obeys the coordinator on one rank."""

    def __init__(
        self,
        trainer: Trainer,
        link: Link,
        *,
        incarnation: Incarnation,
        step: int,
        update_epochs: int,
        publish_timeout_s: float,
        exports: Exports,
        evidence: Path,
        copies: DeviceCopies | None = None,
        is_host_served: bool = True,
        is_verified: bool = True,
        figures: Figures | None = None,
    ) -> None:
        self._trainer = trainer
        self._link = link
        self._incarnation = incarnation
        self.step = step
        """Training step whose weights were loaded."""
        self._update_epochs = update_epochs
        self._publish_timeout_s = publish_timeout_s
        self._evidence = evidence
        self._figures = figures
        self._rank = trainer.ranks.rank
        self._exports = exports
        self._copies = copies
        # Whether there may be engines that read host memory.
        self._is_host_served = is_host_served
        # Whether engines are compared with the policy after each update.
        self._is_verified = is_verified
        self._publisher: Publisher | None = None
        self._connection: Connection | None = None
        self._broadcaster = ""
        self._executed: tuple[int, int] = (0, 0)
        self._writer = CheckpointWriter()

    def obey_forever(self) -> None:
        """Do what the coordinator orders until the link is down."""
        while True:
            order = self._link.next_order()
            self._link.does(activity_of(order))
            match order:
                case ExecuteStep():
                    self._execute(order)
                case PublishWeights():
                    self._publish(order)
                case SaveCheckpoint():
                    self._save(order)
                case MoveState():
                    self._move(order)
                case _:
                    log.warning("order_not_for_a_rank", kind=type(order).__name__)
            self._link.does("")

    def close(self) -> bool:
        """Remove the published segments; return whether nothing is under way any more."""
        if self._publisher is not None:
            self._publisher.close()
        if self._copies is not None:
            self._copies.close()
        return self._writer.join(WRITE_GRACE_S)

    def _execute(self, order: ExecuteStep) -> None:
        num_done = 0

        def on_progress(_progress: Progress) -> None:
            nonlocal num_done
            num_done += 1
            self._link.does(f"{activity_of(order)} after micro-batch {num_done}")
            self._link.send(StepProgressed(rank=self._rank, step=order.step, num_micro_batches=num_done))

        try:
            result = self._trainer.execute(step_batch(order, self._update_epochs), on_progress=on_progress)
        except NonFiniteError as error:
            self._fail(order, error)
            return
        self._executed = (order.step, order.lineage)
        metrics = result.metrics if self._rank == 0 else {}
        warn_about(metrics, step=order.step)
        warn_of_shortage(result.lowered, step=order.step)
        self._link.send(
            StepCredited(
                rank=self._rank,
                step=order.step,
                lineage=order.lineage,
                sample_index=order.sample_index,
                advantages=result.advantages,
            )
        )
        figures = self._figures() if self._figures else None
        self._link.send(
            StepExecuted(rank=self._rank, step=order.step, lineage=order.lineage, metrics=metrics, figures=figures)
        )

    def _fail(self, order: ExecuteStep, error: NonFiniteError) -> None:
        """Keep what was executed for whoever looks into it, then say so; the coordinator ends the run."""
        strange = self._trainer.strange_tensors()
        folder = write_evidence(self._evidence, order, rank=self._rank, error=str(error), strange=strange)
        self._link.send(
            StepFailed(rank=self._rank, step=order.step, lineage=order.lineage, reason=str(error), evidence=str(folder))
        )

    def _move(self, order: MoveState) -> None:
        """Bring everything to the host, or back; the coordinator says when a GPU is for whom."""
        began = time.monotonic()
        num_bytes = self._trainer.offload() if order.place is StatePlace.HOST else self._trainer.load_back()
        seconds, figures = time.monotonic() - began, memory_figures(self._trainer.ranks.device)
        self._link.send(
            StateMoved(rank=self._rank, place=order.place, num_bytes=num_bytes, seconds=seconds, figures=figures)
        )

    def _save(self, order: SaveCheckpoint) -> None:
        """Copy while the other ranks do, and write beside the next orders."""
        began = time.monotonic()

        def on_written(error: BaseException | None) -> None:
            if error is None:
                seconds = time.monotonic() - began
                self._link.send(CheckpointSaved(rank=self._rank, step=order.step, seconds=seconds))
            else:
                reason = f"{type(error).__name__}: {error}"
                log.error("checkpoint_not_written", step=order.step, reason=reason)
                self._link.send(CheckpointFailed(rank=self._rank, step=order.step, reason=reason))

        copy = self._trainer.copy(step=order.step, lineage=self._executed[1])
        seconds = time.monotonic() - began
        self._link.send(CheckpointCopied(rank=self._rank, step=order.step, seconds=seconds))
        self._writer.begin(copy, Path(order.folder), on_written=on_written)

    # ---- publishing: every rank takes part in gathering, rank 0 hands over

    def _publish(self, order: PublishWeights) -> None:
        try:
            copy = None if self._copies is None else self._copies.make(self._exports)
        except WeightsError as error:
            # On all ranks alike; one of them says so.
            if self._rank == 0:
                self._link.send(PublishFailed(version=order.version, reason=f"{type(error).__name__}: {error}"))
            return
        # Collective, and before the ranks part: later calls find it.
        adapter = self._exports.adapter(DigestAlgorithm.XXH3_128) if copy is None else copy.manifest.adapter
        canary = self._canary() if self._is_verified else None
        if self._rank == 0:
            self._link.send(self._published(order, copy, adapter, canary))
        elif self._is_host_served:
            SharedFill(self._trainer.ranks, self._exports).join()

    def _published(
        self, order: PublishWeights, copy: DeviceCopy | None, adapter: AdapterSpec | None, canary: Canary | None
    ) -> msgspec.Struct:
        filling = SharedFill(self._trainer.ranks, self._exports) if self._is_host_served else None

        async def work(transport: ZmqTransport) -> Published:
            publisher = self._connected(transport, order)
            return await publisher.publish(
                version=order.version,
                step=order.step,
                layout=self._exports.layout,
                fill=filling.fill if filling is not None else None,
                copy=copy,
                adapter=adapter,
                canary=canary,
            )

        try:
            done = self._link.run(work, timeout_s=self._publish_timeout_s + PUBLISH_SLACK_S)
        except (PublishError, WeightsError, WireError, TimeoutError) as error:
            return PublishFailed(version=order.version, reason=f"{type(error).__name__}: {error}")
        finally:
            if filling is not None:
                filling.give_up()
        return WeightsPublished(
            version=order.version, digest=done.digest, num_bytes=done.num_bytes, seconds=done.seconds
        )

    def _canary(self) -> Canary:
        ids = canary_tokens(self._trainer.vocabulary)
        return Canary(token_ids=ids, logprobs=tuple(self._trainer.canary(ids)))

    def _connected(self, transport: ZmqTransport, order: PublishWeights) -> Publisher:
        endpoint, key = order.broadcaster, PublicKey(order.broadcaster_key)
        if endpoint == self._broadcaster and self._publisher is not None and self._connection is not None:
            self._connection.recognise(key)
            return self._publisher
        connection = transport.connect(endpoint, name="trainer", server_key=key)
        former, self._connection = self._connection, connection
        if former is not None:
            former.close()
        self._broadcaster = endpoint
        if self._publisher is None:
            self._publisher = Publisher(
                self._connection,
                run=self._link.run_id,
                incarnation=self._incarnation,
                timeout_s=self._publish_timeout_s,
            )
        else:
            self._publisher.use(self._connection)
        return self._publisher


def activity_of(order: msgspec.Struct) -> str:
    """Say in a few words what a rank does that obeys an order."""
    match order:
        case ExecuteStep():
            return f"executing step {order.step}"
        case PublishWeights():
            return f"publishing version {order.version}"
        case SaveCheckpoint():
            return f"copying the checkpoint of step {order.step}"
        case MoveState():
            return f"moving its state to the {order.place.value}"
        case _:
            return type(order).__name__


def step_batch(order: ExecuteStep, update_epochs: int) -> StepBatch:
    """The trainer's batch of an order; raises NonFiniteError for numbers that poison the step before it begins."""
    return StepBatch(
        token_ids=order.token_ids,
        lengths=order.lengths,
        loss_mask=order.loss_mask,
        rollout_logprobs=order.rollout_logprobs,
        sample_index=order.sample_index,
        mini_batch=order.mini_batch,
        rewards=order.rewards,
        group=order.groups,
        step=order.step,
        lineage=order.lineage,
        update_epochs=update_epochs,
    )
