"""Threads: how many compute threads a process gets, so that services that share cores do not spin against each other.

Measured: two spinning threads on contended cores took one linear layer from 0.5 to 16 ms.
"""

from __future__ import annotations

from tetrad_config.run import RunConfig


def threads_per_process(config: RunConfig, cores: int) -> int:
    """Return the compute threads of each rank and each rollout on a host with `cores` cores.

    Without staleness the two take turns, and each side may have all cores; otherwise they share them evenly. What is
    left over goes unused: a thread too many costs more than an idle core.
    """
    asked = config.resources.threads_per_process
    if isinstance(asked, int):
        return asked
    ranks, engines = config.trainer.placement.policy_num_gpus_per_node, config.generator.num_inference_engines
    take_turns = config.trainer.fully_async.max_staleness_steps == 0
    return max(1, cores // (max(ranks, engines) if take_turns else ranks + engines))


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment variables that hold a child process to `threads` threads, waiting without spinning."""
    count = str(threads)
    return {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "NUMEXPR_NUM_THREADS": count,
        "RAYON_NUM_THREADS": count,
        # A thread that waits by spinning takes the core from the process it waits for.
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        # Forking after its threads have started makes the tokenizer warn and can deadlock.
        "TOKENIZERS_PARALLELISM": "false",
    }
