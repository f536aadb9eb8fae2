"""From a run's knobs to the arguments of SGLang's server. Pure: sglang's fields are handed in."""

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

from tetrad_config.server_arguments import complaint
from tetrad_rollout.engine.catalog import EngineSettings
from tetrad_rollout.engine.errors import InvalidRequestError
from tetrad_rollout.engine.server_options import AdapterOptions

# Compute capability 9.0: the FlashAttention 3 kernels are written for it and for no other.
HOPPER: Final = (9, 0)
ON_A_CPU: Final[Mapping[str, Any]] = {
    "device": "cpu",
    "disable_overlap_schedule": True,
    "disable_cuda_graph": True,
    "enable_memory_saver": False,
    "mem_fraction_static": 0.3,
    "max_total_tokens": 16384,
    "skip_server_warmup": True,
    "lora_backend": "torch_native",
}
"""What SGLang's CPU path needs said; found by trying."""


class UnknownArgumentError(InvalidRequestError):
    """`generator.engine_init_kwargs` names what this SGLang does not know, or what may not be changed."""


def server_arguments(
    settings: EngineSettings, *, known: Collection[str], capability: tuple[int, int] | None
) -> tuple[dict[str, Any], str]:
    """Return keyword arguments of `sglang.Engine`, and why the attention backend is what it is.

    `known` are the fields of the installed ServerArgs; `capability` is the GPU's, None on a CPU.

    Raises:
        UnknownArgumentError: an extra argument that is not known, with the nearest, or that may not be set.
    """
    check_extra(settings.server.extra, known)
    backend, reason = attention_backend(settings.server.extra, capability)
    arguments = _common(settings) | {"attention_backend": backend}
    if capability is None:
        arguments |= ON_A_CPU
    return {**arguments, **settings.server.extra}, reason


def abilities(arguments: Mapping[str, Any], capability: tuple[int, int] | None) -> dict[str, object]:
    """Return what decides how a server with these arguments computes, for the log.

    >>> abilities({"tp_size": 2, "disable_radix_cache": True}, (9, 0))["radix_cache"]
    False
    """
    return {
        "capability": ".".join(map(str, capability)) if capability else "none",
        "tp_size": arguments.get("tp_size", 1),
        "cuda_graphs": not arguments.get("disable_cuda_graph", False),
        "radix_cache": not arguments.get("disable_radix_cache", False),
        "deterministic": bool(arguments.get("enable_deterministic_inference")),
        "memory_saver": bool(arguments.get("enable_memory_saver")),
        "lora": bool(arguments.get("enable_lora")),
    }


def attention_backend(extra: Mapping[str, object], capability: tuple[int, int] | None) -> tuple[str, str]:
    """Return the attention backend and the reason for the log.

    >>> attention_backend({}, (9, 0))
    ('fa3', 'compute capability 9.0 is Hopper')
    >>> attention_backend({}, (8, 0))
    ('flashinfer', 'compute capability 8.0 is not Hopper, which fa3 needs')
    """
    if (asked := extra.get("attention_backend")) is not None:
        return str(asked), "generator.engine_init_kwargs.attention_backend asks for it"
    if capability is None:
        return "torch_native", "there is no GPU"
    name = ".".join(map(str, capability))
    if capability == HOPPER:
        return "fa3", f"compute capability {name} is Hopper"
    return "flashinfer", f"compute capability {name} is not Hopper, which fa3 needs"


def check_extra(extra: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse arguments that the installed SGLang does not have."""
    for name in extra:
        if found := complaint(name, known):
            raise UnknownArgumentError(f"generator.engine_init_kwargs.{name} {found}")


def _common(settings: EngineSettings) -> dict[str, Any]:
    options = settings.server
    arguments: dict[str, Any] = {
        "model_path": str(settings.model_path),
        "skip_tokenizer_init": True,  # ids in, ids out; outputs come straight from the scheduler
        "dtype": settings.dtype,
        "mem_fraction_static": options.memory_share,
        "max_running_requests": settings.batch.max_num_seqs,
        "max_prefill_tokens": options.max_prefill_tokens,
        "chunked_prefill_size": options.max_prefill_tokens if options.is_prefill_chunked else -1,
        "disable_radix_cache": not options.is_prefix_cached,
        # The one policy that lets the first sample of a group compute the prompt for the others.
        "schedule_policy": "lpm",
        "disable_cuda_graph": options.is_eager,
        "enable_memory_saver": options.may_sleep,
        "enable_deterministic_inference": settings.batch.is_deterministic,
        "tp_size": options.tensor_parallel_size,
        "watchdog_timeout": options.step_timeout_s,
        "dist_timeout": math.ceil(options.group_timeout_s),
        "sampling_backend": "pytorch",  # plain sampling never needs flashinfer, whose kernels compile at first use
        "grammar_backend": "none",
        "enable_metrics": True,  # they are on the service's own page
        "log_level": "warning",
    }
    if options.adapters is not None:
        arguments |= _adapters(options.adapters, may_sleep=options.may_sleep)
    return arguments


def _adapters(adapters: AdapterOptions, *, may_sleep: bool) -> dict[str, Any]:
    targets = adapters.target_modules
    return {
        "enable_lora": True,
        "max_lora_rank": adapters.rank,
        # Nobody brings the base again when its memory comes back.
        "enable_weights_cpu_backup": may_sleep,
        "lora_target_modules": ["all"] if targets == ("all-linear",) else sorted(targets),
        # The one that serves, the one that is being loaded, and the base.
        "max_loras_per_batch": 3,
    }
