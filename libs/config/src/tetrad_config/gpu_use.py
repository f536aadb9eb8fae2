"""GPU use: who uses which GPU of the first host, and how much of it. Pure; the visible ones are handed in.

Sizes are those of what has a size before anything loads: weights, gradients, moments, buffers. What grows with the
work (activations, KV caches) is named by its limit, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tetrad_config.engine_gpus import gpus_of_engines, num_gpus_asked
from tetrad_config.generator import Backend, DType, WeightSyncBackend
from tetrad_config.plan import FROZEN_BYTES_PER_PARAMETER, TRAINING_BYTES_PER_PARAMETER, Plan
from tetrad_config.run import RunConfig

# A rank publishes from one buffer while engines may still read the one before.
PUBLISH_BUFFERS = 2
# The broadcaster takes a version while it still sends the one before.
RELAY_BUFFERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One thing in a GPU's memory."""

    what: str
    num_bytes: int | None
    """None where the size of the model is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One process on a GPU."""

    process: str
    """A rank of the learner, or a part of an engine."""
    held: tuple[Held, ...]
    note: str = ""
    """Whose turn it is, and up to which share of the GPU it grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU and those who use it."""

    name: str
    """As CUDA_VISIBLE_DEVICES has it."""
    uses: tuple[Use, ...]


def gpu_uses(
    config: RunConfig, planned: Plan, *, visible: Sequence[str] = (), critic_parameters: int | None = None
) -> tuple[Gpu, ...]:
    """Return the GPUs that a run asks for, in order; empty where neither engines nor ranks compute on one.

    Where fewer are visible than are asked for, the others go by their numbers.
    """
    ranks = config.trainer.placement.policy_num_gpus_per_node
    if config.generator.backend is not Backend.SGLANG:
        names = tuple(visible[:ranks])
    else:
        asked = num_gpus_asked(config)
        names = (*visible[:asked], *(str(number) for number in range(len(visible), asked)))
    engines = gpus_of_engines(config, names)[: config.generator.num_inference_engines]
    uses = {name: [_rank(config, planned, rank, critic_parameters)] for rank, name in enumerate(names[:ranks])}
    if _is_relayed(config):
        copies = Held(what="copies to send", num_bytes=_buffers(config, planned, RELAY_BUFFERS))
        uses[names[0]].append(Use(process="broadcaster", held=(copies,)))
    return tuple(
        Gpu(name=name, uses=(*uses.get(name, ()), *_engine_parts(config, planned, engines, name))) for name in names
    )


def _rank(config: RunConfig, planned: Plan, rank: int, critic_parameters: int | None) -> Use:
    trainer, storage = config.trainer, planned.storage
    held = [Held(what="policy", num_bytes=storage.rank_bytes)]
    has_reference = trainer.algorithm.use_kl_loss or trainer.algorithm.use_kl_in_reward
    if has_reference and trainer.policy.model.lora.rank == 0:
        reference = share(storage.parameters, FROZEN_BYTES_PER_PARAMETER, planned.ranks)
        held.append(Held(what="reference", num_bytes=reference))
    if trainer.has_critic:
        held.append(
            Held(what="critic", num_bytes=share(critic_parameters, TRAINING_BYTES_PER_PARAMETER, planned.ranks))
        )
    if trainer.placement.colocate_all or _is_relayed(config):
        both = _buffers(config, planned, PUBLISH_BUFFERS)
        held.append(Held(what="buffers to publish from", num_bytes=both))
    return Use(process=f"rank {rank}", held=tuple(held), note="and activations, by turns" if _is_shared(config) else "")


def _engine_parts(config: RunConfig, planned: Plan, engines: Sequence[Sequence[str]], name: str) -> Iterator[Use]:
    size, limit = config.generator.gpus_per_engine, config.generator.gpu_memory_utilization
    weights = share(planned.storage.parameters, width(config), size)
    for number, gpus in enumerate(engines):
        if name not in gpus:
            continue
        stage = Held(what="stage", num_bytes=published_bytes(config, planned))
        # Received on its first GPU, from where every part of the engine takes it.
        received = Held(what="received version", num_bytes=published_bytes(config, planned))
        is_first = _is_relayed(config) and gpus.index(name) == 0
        part = f", part {gpus.index(name) + 1} of {size}" if size > 1 else ""
        yield Use(
            process=f"rollout-{number}{part}",
            held=(Held(what="weights", num_bytes=weights), stage, *((received,) if is_first else ())),
            note=f"weights and KV cache up to {limit:.0%} of the GPU" + (", by turns" if _is_shared(config) else ""),
        )


def _buffers(config: RunConfig, planned: Plan, num: int) -> int | None:
    published = published_bytes(config, planned)
    return None if published is None else num * published


def published_bytes(config: RunConfig, planned: Plan) -> int | None:
    """Bytes of one version."""
    parameters = planned.storage.trained_parameters if config.syncs_adapters_only else planned.storage.parameters
    return share(parameters, width(config), 1)


def width(config: RunConfig) -> int:
    """Bytes of one weight in an engine."""
    return 4 if config.generator.model_dtype is DType.FLOAT32 else 2


def share(parameters: int | None, width: int, parts: int) -> int | None:
    """Bytes of one part of so many parameters; None where their number is unknown."""
    return None if parameters is None else parameters * width // parts


def are_versions_on_gpus(config: RunConfig) -> bool:
    """Whether versions stay in GPU memory on their way: it is counted there, and shared memory holds none."""
    return _is_shared(config) or _is_relayed(config)


def _is_relayed(config: RunConfig) -> bool:
    """Whether versions go from GPU to GPU through the broadcaster."""
    generator = config.generator
    is_nccl = generator.weight_sync_backend is WeightSyncBackend.NCCL
    return is_nccl and generator.backend is Backend.SGLANG and not _is_shared(config)


def _is_shared(config: RunConfig) -> bool:
    return config.trainer.placement.colocate_all
