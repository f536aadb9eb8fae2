"""Tetrad's side of `learner.py`: training steps of the trainer of one rank, timed.

    python benchmarks/learner_ours.py SETTING

The last line of its output is JSON: seconds of each counted step, and the peak of its memory.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping

import numpy as np
import torch
import torch.distributed as dist
from learner_setting import GROUP_SIZE, Setting

from tetrad_algorithms import logprobs
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import ComputeDtype, OptimizerOptions, RowLayout, ShardingOptions, TrainerOptions

ALL_AT_ONCE: Mapping[str, int] = {"cpu": 1 << 50, "cuda": 1 << 50}


def main() -> None:
    """Train, print the record."""
    setting = Setting.of(sys.argv[1])
    torch.set_num_threads(setting.num_threads)
    if not setting.is_chunked:
        logprobs.CHUNK_BYTES = ALL_AT_ONCE
    is_gpu = setting.device == "cuda"
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    with tempfile.TemporaryDirectory() as folder:
        store = dist.FileStore(f"{folder}/store", 1)
        dist.init_process_group("cpu:gloo,cuda:nccl" if is_gpu else "gloo", store=store, rank=0, world_size=1)
        trainer = Trainer.create(options(setting))
        seconds = [step_seconds(trainer, setting, step) for step in range(1, 1 + setting.num_steps)]
        trainer.close()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak_bytes = torch.cuda.max_memory_allocated() if is_gpu else resident
    print(json.dumps({"step_s": seconds[setting.num_warm_up_steps :], "peak_bytes": peak_bytes}))


def options(setting: Setting) -> TrainerOptions:
    """One optimizer step on fresh samples, no KL; bfloat16 and packed rows on a GPU."""
    is_gpu = setting.device == "cuda"
    return TrainerOptions(
        model_path=setting.model,
        device=setting.device,
        compute_dtype=ComputeDtype.BFLOAT16 if is_gpu else ComputeDtype.FLOAT32,
        gradient_checkpointing=setting.gradient_checkpointing,
        use_torch_compile=setting.use_torch_compile,
        sharding=ShardingOptions(reshard_after_forward=setting.is_resharded),
        row_layout=RowLayout.PACKED if is_gpu else RowLayout.PADDED,
        micro_train_batch_size=1 << 20,
        max_tokens_per_micro_batch=setting.row_tokens,
        optimizer=OptimizerOptions(lr=1e-6),
    )


def step_seconds(trainer: Trainer, setting: Setting, step: int) -> float:
    """Train on the batch; the trainer itself waits for the device at the end of a step."""
    began = time.perf_counter()
    trainer.execute(a_batch(setting, step))
    return time.perf_counter() - began


def a_batch(setting: Setting, step: int) -> StepBatch:
    """The samples of a step end to end, as a rank gets them."""
    responses = setting.response_lengths()
    lengths = (responses + setting.prompt_tokens).astype(np.int32)
    total, num = int(lengths.sum()), len(lengths)
    column = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    mask = (column >= setting.prompt_tokens).astype(np.uint8)
    return StepBatch(
        token_ids=setting.token_ids(total).astype(np.int32),
        lengths=lengths,
        loss_mask=mask,
        rollout_logprobs=np.where(mask == 1, -10.0, 0.0).astype(np.float32),
        sample_index=np.arange(num, dtype=np.int32),
        mini_batch=np.zeros(num, dtype=np.int32),
        rewards=(np.arange(num) % 3).astype(np.float32),
        group=(np.arange(num) // GROUP_SIZE).astype(np.int32),
        step=step,
        lineage=0,
    )


if __name__ == "__main__":
    main()
