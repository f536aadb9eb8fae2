"""One rank of `learner_ranks.py`: training steps of its share of the samples, timed.

    python -m torch.distributed.run --nproc_per_node=N benchmarks/learner_ranks_program.py SETTING…

The last line of rank 0's output is JSON: for each setting, the seconds of each counted step.
"""

import dataclasses
import gc
import json
import sys
import time

import numpy as np
import torch
from learner_ours import a_batch, options
from learner_setting import Setting

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.ranks import Ranks, leave


def main() -> None:
    """Measure every setting, print the record."""
    chosen = [Setting.of(text) for text in sys.argv[1:]]
    torch.set_num_threads(chosen[0].num_threads)
    seconds = [measured(setting) for setting in chosen]
    leave()
    if seconds[0]:
        print(json.dumps({"step_s": seconds}), flush=True)


def measured(setting: Setting) -> list[float]:
    """Seconds of each counted step; empty on every rank but the first."""
    trainer = Trainer.create(options(setting))
    seconds = [step_seconds(trainer, setting, step) for step in range(1, 1 + setting.num_steps)]
    is_first = trainer.ranks.is_first
    del trainer
    gc.collect()
    if setting.device == "cuda":
        torch.cuda.empty_cache()
    return seconds[setting.num_warm_up_steps :] if is_first else []


def step_seconds(trainer: Trainer, setting: Setting, step: int) -> float:
    """From when all ranks are ready to when all have stepped."""
    batch = share(a_batch(setting, step), trainer.ranks)
    trainer.ranks.barrier()
    began = time.perf_counter()
    trainer.execute(batch)
    trainer.ranks.barrier()
    return time.perf_counter() - began


def share(batch: StepBatch, ranks: Ranks) -> StepBatch:
    """The samples of this rank: a contiguous part of all, as a coordinator gives it."""
    bounds = np.linspace(0, len(batch.lengths), ranks.world_size + 1).round().astype(int)
    mine = slice(bounds[ranks.rank], bounds[ranks.rank + 1])
    ends = np.concatenate([[0], np.cumsum(batch.lengths)])
    tokens = slice(ends[mine.start], ends[mine.stop])
    return dataclasses.replace(
        batch,
        token_ids=batch.token_ids[tokens],
        lengths=batch.lengths[mine],
        loss_mask=batch.loss_mask[tokens],
        rollout_logprobs=batch.rollout_logprobs[tokens],
        sample_index=batch.sample_index[mine],
        mini_batch=batch.mini_batch[mine],
    )


if __name__ == "__main__":
    main()
