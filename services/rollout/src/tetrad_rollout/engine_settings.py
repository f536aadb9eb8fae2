"""From the run's configuration to what an engine is made from."""

import os
from pathlib import Path
from typing import Final

from tetrad_config import RunConfig, threads_per_process
from tetrad_config.generator import Backend
from tetrad_config.models import Lora
from tetrad_rollout.engine.catalog import EngineSettings
from tetrad_rollout.engine.core import BatchSettings
from tetrad_rollout.engine.protocol import CachePolicy
from tetrad_rollout.engine.server_options import AdapterOptions, ServerOptions
from tetrad_rollout.weight_keeper import layout_digest

# The first forward of a shape may compile kernels.
FIRST_STEP_S: Final = 60.0


def engine_settings(config: RunConfig, *, model: Path, is_colocated: bool) -> EngineSettings:
    """What the engine of one replica is made from, with the model in that folder; its GPUs are those that it sees."""
    generator = config.generator
    return EngineSettings(
        model_path=model,
        dtype=generator.model_dtype.value,
        num_threads=threads_per_process(config, os.cpu_count() or 1),
        batch=BatchSettings(
            max_num_seqs=generator.max_num_seqs,
            batch_window_s=generator.batch_window,
            is_deterministic=generator.deterministic,
        ),
        digest=layout_digest,
        server=server_options(config, is_colocated=is_colocated),
    )


def honours_seeds(config: RunConfig) -> bool:
    """Whether equal seeds give equal samples: SGLang needs its deterministic mode for that."""
    return config.generator.backend is not Backend.SGLANG or config.generator.deterministic


def server_options(config: RunConfig, *, is_colocated: bool) -> ServerOptions:
    """The knobs of an engine that is a server of its own."""
    generator = config.generator
    return ServerOptions(
        memory_share=generator.gpu_memory_utilization,
        max_prefill_tokens=generator.max_num_batched_tokens,
        is_prefix_cached=generator.enable_prefix_caching,
        is_prefill_chunked=generator.enable_chunked_prefill,
        is_eager=generator.enforce_eager,
        tensor_parallel_size=generator.inference_engine_tensor_parallel_size,
        step_timeout_s=max(generator.lease_progress_timeout, generator.weight_sync_timeout, FIRST_STEP_S),
        group_timeout_s=config.trainer.stall_timeout,
        may_sleep=is_colocated,
        cache_policy=CachePolicy(generator.kv_cache_policy.value),
        adapters=_adapters(config.trainer.policy.model.lora) if config.syncs_adapters_only else None,
        extra=generator.engine_init_kwargs,
    )


def _adapters(lora: Lora) -> AdapterOptions:
    return AdapterOptions(rank=lora.rank, target_modules=tuple(lora.target_modules))
