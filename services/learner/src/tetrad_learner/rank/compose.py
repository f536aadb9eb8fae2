"""Composition root of a trainer rank: link, trainer, shell; then it obeys until the coordinator is gone."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch
from msgspec import structs

from tetrad_config import RunConfig, TrainerSettings, threads_per_process
from tetrad_config.generator import Backend, WeightSyncBackend
from tetrad_learner.rank.device_copies import DeviceCopies
from tetrad_learner.rank.exports import Exports
from tetrad_learner.rank.link import Link, LinkDownError
from tetrad_learner.rank.memory import memory_figures
from tetrad_learner.rank.memory_advice import advice
from tetrad_learner.rank.options import trainer_options
from tetrad_learner.rank.self_test import Subject, self_test
from tetrad_learner.rank.shell import RankShell
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import MemoryShortError
from tetrad_learner.trainer.shortage import is_shortage
from tetrad_runtime.exits import ExitCode
from tetrad_runtime.garbage import settle
from tetrad_runtime.wiring import open_transport
from tetrad_telemetry import context, logs
from tetrad_transport.keys import KeyRole
from tetrad_transport.membership import new_incarnation
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import Hello, Role
from tetrad_wire.messages.steps import RankFailed, RankReady

log = logs.get_logger(__name__)

# For the report of a failure to be read, and acted on.
FAREWELL_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the coordinator says to every rank of a set when it starts them."""

    set_name: str
    num_steps: int
    """Training steps of the whole run."""
    steps_per_epoch: int
    """Training steps of one pass over the data."""
    load: Path | None = None
    """Checkpoint folder to continue from; None begins with the model."""
    micro_batch_divisor: int = 1
    """By how much micro-batches are smaller than the run file says."""


def run_rank(settings: TrainerSettings, config: RunConfig, orders: Orders) -> int:
    """Load the model, say so, and obey; return the exit code."""
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    logs.configure(service="trainer", format=settings.log_format, level=settings.log_level)
    context.bind(run=settings.run_dir.name, replica=f"trainer-{rank}")
    # Asked to leave, a rank removes its shared memory on the way out.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    set_up_torch(config)
    hello = _hello(rank)
    link = Link(settings.coordinator, hello, open_transport=partial(open_transport, settings, KeyRole.TRAINER))
    link.start()
    report = partial(_report_failure, link, rank, orders, config)
    with _reported(report):
        trainer, shell = _loaded(settings, config, orders, link, hello)
    settle()
    figures = memory_figures(trainer.ranks.device)
    link.send(
        RankReady(
            rank=rank,
            world_size=world_size,
            incarnation=Incarnation(orders.set_name),
            pid=os.getpid(),
            step=shell.step,
            figures=figures,
        )
    )
    link.does("")
    try:
        with _reported(report):
            return _obey(shell)
    finally:
        if shell.close():
            trainer.close()


def _loaded(
    settings: TrainerSettings, config: RunConfig, orders: Orders, link: Link, hello: Hello
) -> tuple[Trainer, RankShell]:
    """Prove that the ranks can work together, then load what they work on."""
    device = device_of_ranks()
    options = trainer_options(
        config,
        device=device,
        num_steps=orders.num_steps,
        steps_per_epoch=orders.steps_per_epoch,
        micro_batch_divisor=orders.micro_batch_divisor,
    )
    if device == "cpu" and (options.sharding.cpu_offload or options.reference_sharding.cpu_offload):
        log.warning("cpu_offload_has_no_effect", reason="shards are in the host's memory already")
    link.does("the self-test")
    subject = Subject(run_config=settings.run_config_path, checkpoints=Path(config.trainer.ckpt_path))
    self_test(subject, device=device, timeout_s=options.collective_timeout_s)
    link.does("loading the model")
    trainer = Trainer.create(options)
    step = trainer.load(orders.load).step if orders.load is not None else 0
    return trainer, _shell(settings, config, trainer, link, incarnation=hello.incarnation, step=step)


@contextmanager
def _reported(report: Callable[[Exception], None]) -> Iterator[None]:
    """Report whatever goes wrong within the block before anything is cleaned up: the other ranks wait for this one."""
    try:
        yield
    except Exception as error:
        report(error)
        raise


def device_of_ranks() -> str:
    """Return what ranks compute on here."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _report_failure(link: Link, rank: int, orders: Orders, config: RunConfig, error: Exception) -> None:
    """Tell the coordinator, and wait for it to end the whole set: the others may be in a collective with us."""
    log.exception("rank_failed", activity=link.activity)
    what = link.activity or "waiting for an order"
    failed = RankFailed(
        rank=rank, incarnation=Incarnation(orders.set_name), reason=f"{what}: {type(error).__name__}: {error}"
    )
    if isinstance(error, MemoryShortError) or is_shortage(error):
        failed = _out_of_memory(failed, what, error, config)
    link.send(failed)
    time.sleep(FAREWELL_S)


def _out_of_memory(failed: RankFailed, what: str, error: Exception, config: RunConfig) -> RankFailed:
    """Say what will be done about it, or what the user can do."""
    shrink_by = error.shrink_by if isinstance(error, MemoryShortError) else 0
    remedy = "all ranks begin again with smaller ones" if shrink_by else advice(config, device=device_of_ranks())
    # The rest of what torch says is where the memory went, several lines of it; the log has them.
    said, _, _ = str(error).partition("\n")
    said = said if isinstance(error, MemoryShortError) else f"out of memory: {said}"
    return structs.replace(failed, reason=f"{what}: {said}; {remedy}", shrink_by=shrink_by)


def set_up_torch(config: RunConfig) -> None:
    """Give torch the threads and kernels that the run asks for."""
    torch.set_num_threads(threads_per_process(config, os.cpu_count() or 1))
    torch.backends.cuda.enable_flash_sdp(config.trainer.flash_attn)


def _hello(rank: int) -> Hello:
    return Hello(
        role=Role.TRAINER,
        name=f"trainer-{rank}",
        incarnation=new_incarnation(),
        host=socket.gethostname(),
        pid=os.getpid(),
    )


def _shell(
    settings: TrainerSettings, config: RunConfig, trainer: Trainer, link: Link, *, incarnation: Incarnation, step: int
) -> RankShell:
    return RankShell(
        trainer,
        link,
        incarnation=incarnation,
        step=step,
        update_epochs=config.trainer.update_epochs_per_batch,
        publish_timeout_s=config.generator.weight_sync_timeout,
        exports=Exports(trainer, dtype=config.generator.model_dtype.value, adapters_only=config.syncs_adapters_only),
        evidence=settings.run_dir / "poisoned",
        copies=_device_copies(config, trainer, link, incarnation=incarnation),
        is_host_served=not serves_own_gpus_only(config) and not is_relayed(config, trainer.ranks.device),
        is_verified=config.generator.verify_sync,
        figures=partial(memory_figures, trainer.ranks.device),
    )


def _device_copies(config: RunConfig, trainer: Trainer, link: Link, *, incarnation: Incarnation) -> DeviceCopies | None:
    """Engines that share a GPU with a rank take the weights from its memory; for those on others it is relayed."""
    has_neighbours, relayed = config.trainer.placement.colocate_all, is_relayed(config, trainer.ranks.device)
    if trainer.ranks.device.type == "cpu" or not (has_neighbours or relayed):
        return None
    return DeviceCopies(
        trainer.ranks, run=link.run_id, incarnation=incarnation, has_neighbours=has_neighbours, is_relayed=relayed
    )


def is_relayed(config: RunConfig, device: torch.device) -> bool:
    """Whether the broadcaster keeps a copy in GPU memory, for engines on GPUs that are no rank's.

    Out of it, it also serves those that read host memory, once one asks. Never where engines share the ranks' GPUs:
    the device lease knows nothing of such a copy.
    """
    generator = config.generator
    if device.type == "cpu" or generator.backend is not Backend.SGLANG or config.trainer.placement.colocate_all:
        return False
    return generator.weight_sync_backend is WeightSyncBackend.NCCL


def serves_own_gpus_only(config: RunConfig) -> bool:
    """Whether every engine shares a GPU with a rank, so that no byte of a version needs to lie in host memory.

    Where GPUs are left over, engines may be added on them in mid-run.
    """
    placement = config.trainer.placement
    return placement.colocate_all and 0 < torch.cuda.device_count() <= placement.policy_num_gpus_per_node


def _obey(shell: RankShell) -> int:
    try:
        shell.obey_forever()
    except LinkDownError as error:
        log.error("coordinator_lost", reason=str(error))  # noqa: TRY400 - the reason says it all
    return ExitCode.PEER_LOST
