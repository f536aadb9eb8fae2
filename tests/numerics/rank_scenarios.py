"""What the ranks of test_ranks.py do, one scenario after the other, results into a folder.

usage: rank_scenarios.py TIED_MODEL UNTIED_MODEL REFERENCE_MODEL OUT

Started by torch.distributed.run it does everything. Started alone it becomes three ranks, which import torch once for
all, and only runs the algorithms.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numerics.algorithm_cases import CASES, LORA, all_weights, case_options, executed
from numerics.trainer_builders import AStep, exported, last_gradient, options

from tetrad_learner.rank.device_copies import agreed_handles
from tetrad_learner.rank.shared_fill import SharedFill
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import NonFiniteError, RankDisagreementError
from tetrad_learner.trainer.options import AlgorithmOptions, RowLayout
from tetrad_learner.trainer.ranks import Ranks, join, leave
from tetrad_wire.messages.weights import DeviceHandle, SegmentHandle

KL = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1)
MANY = AStep(num_groups=3, group_size=3, num_mini_batches=3, update_epochs=2, seed=3)
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def gradient(model: Path, out: Path) -> None:
    """One optimizer step; nine samples, so that the ranks' shares differ."""
    trainer = Trainer.create(options(model, micro_train_batch_size=2))
    step = dataclasses.replace(MANY, num_mini_batches=1, update_epochs=1)
    metrics = trainer.execute(step.share(rank=RANK, world_size=WORLD)).metrics
    record(out, f"gradient-{model.name}", last_gradient(trainer), metrics)


def epochs(model: Path, out: Path) -> None:
    """Mini-batches, epochs and a reference; some mini-batches lie on one rank alone."""
    for layout in RowLayout:
        trainer = Trainer.create(options(model, algorithm=KL, micro_train_batch_size=2, row_layout=layout))
        metrics = trainer.execute(MANY.share(rank=RANK, world_size=WORLD)).metrics
        record(out, f"epochs-{layout}", exported(trainer), metrics)


def gradient_of_adapters(model: Path, out: Path) -> None:
    """One optimizer step of adapters, whose reference is asked on the way."""
    trainer = Trainer.create(options(model, algorithm=KL, lora=LORA, micro_train_batch_size=2))
    step = dataclasses.replace(MANY, num_mini_batches=1, update_epochs=1)
    metrics = trainer.execute(step.share(rank=RANK, world_size=WORLD)).metrics
    record(out, f"gradient-of-adapters-{model.name}", last_gradient(trainer), metrics)


def idle_rank_with_adapters(model: Path, out: Path) -> None:
    """Rank 0 has every sample; the frozen weights are gathered on both."""
    trainer = Trainer.create(options(model, lora=LORA, micro_train_batch_size=4))
    trainer.execute(AStep().only(range(AStep().num_samples) if RANK == 0 else range(0)))
    record(out, "idle-adapters", last_gradient(trainer), {})


def save_adapters(model: Path, out: Path) -> None:
    """Two steps with a reference, a checkpoint, and a third step; and the third from the checkpoint."""
    straight = Trainer.create(options(model, algorithm=KL, lora=LORA))
    for seed in (0, 1):
        straight.execute(AStep(seed=seed).share(rank=RANK, world_size=WORLD))
    straight.save(out / "adapters-checkpoint", step=2, lineage=0)
    record(out, "adapters-saved", exported(straight), {})
    resumed = Trainer.create(options(model, algorithm=KL, lora=LORA))
    resumed.load(out / "adapters-checkpoint")
    for name, trainer in (("adapters-straight", straight), ("adapters-resumed", resumed)):
        trainer.execute(AStep(seed=2).share(rank=RANK, world_size=WORLD))
        record(out, name, exported(trainer), {})


def idle_rank(model: Path, out: Path) -> None:
    """Rank 0 has every sample; the others only join the collectives."""
    trainer = Trainer.create(options(model, gradient_checkpointing=True, micro_train_batch_size=4))
    everything = range(AStep().num_samples)
    metrics = trainer.execute(AStep().only(everything if RANK == 0 else range(0))).metrics
    record(out, "idle", last_gradient(trainer), metrics)


def save_and_resume(model: Path, out: Path) -> None:
    """Two steps, a checkpoint, one more step; and the same from the checkpoint."""
    straight = Trainer.create(options(model))
    for seed in (0, 1):
        straight.execute(AStep(seed=seed).share(rank=RANK, world_size=WORLD))
    straight.save(out / "checkpoint", step=2, lineage=0)
    resumed = Trainer.create(options(model))
    resumed.load(out / "checkpoint")
    for name, trainer in (("straight", straight), ("resumed", resumed)):
        trainer.execute(AStep(seed=2).share(rank=RANK, world_size=WORLD))
        record(out, name, exported(trainer), {})


def resume_from_one_rank(model: Path, out: Path) -> None:
    """Load what a single rank saved."""
    trainer = Trainer.create(options(model))
    trainer.load(out / "one-rank-checkpoint")
    record(out, "from-one-rank", exported(trainer), {})


def twice(model: Path, out: Path) -> None:
    """The same step in two trainers."""
    for attempt in range(2):
        trainer = Trainer.create(options(model, micro_train_batch_size=2))
        trainer.execute(MANY.share(rank=RANK, world_size=WORLD))
        record(out, f"twice-{attempt}", exported(trainer), {})


def disagreement(model: Path, out: Path) -> None:
    """Rank 1 was handed another step."""
    trainer = Trainer.create(options(model))
    step = AStep(step=1 + RANK)
    try:
        trainer.execute(step.share(rank=RANK, world_size=WORLD))
    except RankDisagreementError as error:
        (out / f"disagreement-{RANK}").write_text(str(error))


def poison(model: Path, out: Path) -> None:
    """Only rank 1's share is poisoned; both ranks must know."""
    trainer = Trainer.create(options(model, algorithm=AlgorithmOptions(grpo_std="none")))
    before = exported(trainer)
    batch = AStep().share(rank=RANK, world_size=WORLD)
    batch.rewards[8:] *= np.float32(1e38)  # group 2, which rank 1 holds
    try:
        trainer.execute(batch)
    except NonFiniteError as error:
        (out / f"poison-{RANK}").write_text(str(error))
    record(out, "poison-weights", exported(trainer) - before, {})


def algorithms(model: Path, reference: Path, out: Path) -> None:
    """Two steps of every kind of algorithm."""
    for name in CASES:
        trainer = Trainer.create(case_options(name, model=model, reference=reference, micro_train_batch_size=2))
        metrics = executed(trainer, rank=RANK, world_size=WORLD)
        record(out, f"{name}-{WORLD}", all_weights(trainer), metrics)


def gathering(out: Path) -> None:
    """Each rank has another number of rows, the first none."""
    ranks = join(device="cpu", timeout_s=60.0)
    gathered = ranks.gather(torch.full((RANK, 2), float(RANK)))
    record(out, f"gathered-{WORLD}", gathered.numpy(), {})


class Told:
    """Says in a collective of its own which ranks take part, as exporting does."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def fill(self, buffer: np.ndarray | None) -> None:
        took_part = self._ranks.sum(torch.tensor([1], dtype=torch.uint8))
        if buffer is not None:
            buffer[:] = took_part.numpy()


def shared_fills(out: Path) -> None:
    """Rank 0 has no buffer, then one, and fills it from another thread."""
    ranks, buffer = join(device="cpu", timeout_s=60.0), np.zeros(1, np.uint8)
    without, having = SharedFill(ranks, Told(ranks)), SharedFill(ranks, Told(ranks))
    if RANK == 0:
        without.give_up()
        thread = threading.Thread(target=having.fill, args=(buffer,))
        thread.start()
        thread.join()
        having.give_up()
        joined = 1
    else:
        joined = 10 * without.join() + having.join()
    seen = ranks.gather(torch.tensor([joined]))
    record(out, f"shared-fills-{WORLD}", np.array([*seen.tolist(), int(buffer[0])]), {})


def handles(out: Path) -> None:
    """Each rank offers memory of its own GPU: of the same bytes, then of others."""
    ranks = join(device="cpu", timeout_s=60.0)
    mine = a_handle(RANK)
    (out / f"handles-{RANK}").write_text(" ".join(one.gpu for one in agreed_handles(mine, "the same", ranks)))
    try:
        agreed_handles(mine, f"digest of {RANK}", ranks)
    except RankDisagreementError as error:
        (out / f"handles-disagree-{RANK}").write_text(str(error))


def a_handle(rank: int) -> DeviceHandle:
    gate = SegmentHandle(name=f"gate-{rank}", num_bytes=64, nonce="n" * (rank + 1))
    return DeviceHandle(
        gpu=f"GPU-{rank}",
        gate=gate,
        memory=bytes(64),
        storage_bytes=8,
        storage_offset=0,
        counter=b"counter",
        counter_offset=0,
        event=b"",
        needs_event=False,
        offset=0,
        num_bytes=8,
    )


def record(out: Path, name: str, array: np.ndarray, metrics: dict[str, float]) -> None:
    """Keep rank 0's view."""
    if RANK == 0:
        np.savez(out / f"{name}.npz", array=array, **metrics)


def become_ranks(num_ranks: int, store: Path) -> bool:
    """Fork into so many ranks; return True in each of them, False in the parent once all have ended well."""
    global RANK, WORLD
    children = []
    for rank in range(num_ranks):
        child = os.fork()
        if child == 0:
            RANK, WORLD = rank, num_ranks
            files = dist.FileStore(str(store), num_ranks)
            dist.init_process_group("gloo", store=files, rank=rank, world_size=num_ranks)
            return True
        children.append(child)
    if any(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children):
        raise SystemExit(f"one of {num_ranks} ranks failed")
    return False


def main() -> None:
    """Run the scenarios."""
    torch.set_num_threads(1)
    tied, untied, reference, out = (Path(argument) for argument in sys.argv[1:5])
    is_alone = WORLD == 1
    if is_alone and not become_ranks(3, out / "store"):
        return
    gathering(out)
    shared_fills(out)
    handles(out)
    algorithms(tied, reference, out)
    if is_alone:
        return
    for model in (tied, untied):
        gradient(model, out)
        gradient_of_adapters(model, out)
    for scenario in (
        idle_rank_with_adapters,
        save_adapters,
        epochs,
        idle_rank,
        save_and_resume,
        resume_from_one_rank,
        twice,
        disagreement,
        poison,
    ):
        scenario(tied, out)


if __name__ == "__main__":
    try:
        main()
    finally:
        # A rank that ends with its groups open may be aborted by their threads.
        leave()
