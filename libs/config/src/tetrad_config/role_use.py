"""Role use: memory and disk of each service, as far as they have a size before anything loads. Pure.

Sizes are upper bounds of what has one. What grows with the work (activations, keys and values) is named, not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tetrad_config.generator import Backend
from tetrad_config.gpu_use import PUBLISH_BUFFERS, Held, are_versions_on_gpus, published_bytes, share, width
from tetrad_config.plan import FROZEN_BYTES_PER_PARAMETER, TRAINING_BYTES_PER_PARAMETER, Plan
from tetrad_config.resources import JournalKeep
from tetrad_config.run import RunConfig
from tetrad_config.section import OFF

# int32 id, float32 log-probability, uint8 mask.
JOURNAL_BYTES_PER_TOKEN: Final = 9
# The broadcaster serves one version while it takes the next.
HELD_VERSIONS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleUse:
    """What all processes of one role use."""

    role: str
    num_processes: int
    memory: tuple[Held, ...]
    """Of one process, on its GPU or on the host."""
    shared_memory: tuple[Held, ...] = ()
    """Of all of them, in /dev/shm."""
    disk: tuple[Held, ...] = ()
    """Of all of them."""
    note: str = ""


def role_uses(config: RunConfig, planned: Plan, *, critic_parameters: int | None = None) -> tuple[RoleUse, ...]:
    """Return the roles in the order of a step: who generates, who grades, who learns, who sends weights."""
    return (
        _rollout(config, planned),
        _reward(config),
        _learner(config, planned, critic_parameters),
        _sender(config, planned),
    )


def _rollout(config: RunConfig, planned: Plan) -> RoleUse:
    generator = config.generator
    is_server = generator.backend is Backend.SGLANG
    weights = share(planned.storage.parameters, width(config), generator.gpus_per_engine)
    grows = (
        f"weights and KV cache up to {generator.gpu_memory_utilization:.0%} of each GPU"
        if is_server
        else f"KV cache of at most {generator.max_num_seqs:,} samples at once comes on top"
    )
    return RoleUse(
        role="rollout",
        num_processes=generator.num_inference_engines,
        memory=(
            Held(what="weights", num_bytes=weights),
            Held(what="stage of the next version", num_bytes=published_bytes(config, planned)),
        ),
        note=grows,
    )


def _reward(config: RunConfig) -> RoleUse:
    workers = config.reward.num_workers
    note = f"no model; {workers} grading process{'es' if workers > 1 else ''} each"
    return RoleUse(role="reward", num_processes=config.reward.num_replicas, memory=(), note=note)


def _learner(config: RunConfig, planned: Plan, critic_parameters: int | None) -> RoleUse:
    trainer, storage = config.trainer, planned.storage
    memory = [Held(what="policy with gradients and moments", num_bytes=storage.rank_bytes)]
    if (trainer.algorithm.use_kl_loss or trainer.algorithm.use_kl_in_reward) and trainer.policy.model.lora.rank == 0:
        frozen = share(storage.parameters, FROZEN_BYTES_PER_PARAMETER, planned.ranks)
        memory.append(Held(what="reference", num_bytes=frozen))
    if trainer.has_critic:
        critic = share(critic_parameters, TRAINING_BYTES_PER_PARAMETER, planned.ranks)
        memory.append(Held(what="critic", num_bytes=critic))
    return RoleUse(
        role="learner",
        num_processes=planned.ranks,
        memory=tuple(memory),
        shared_memory=_versions(config, planned, "buffers to publish from", PUBLISH_BUFFERS),
        disk=(
            Held(what="checkpoints", num_bytes=storage.disk_bytes),
            Held(what="journal", num_bytes=journal_bytes(config, planned)),
        ),
        note="activations come on top",
    )


def _sender(config: RunConfig, planned: Plan) -> RoleUse:
    return RoleUse(
        role="broadcaster",
        num_processes=1,
        memory=(),
        shared_memory=_versions(config, planned, "versions", HELD_VERSIONS),
        note="versions stay in GPU memory" if are_versions_on_gpus(config) else "",
    )


def journal_bytes(config: RunConfig, planned: Plan) -> int | None:
    """At most: as if every sample had all the tokens that it may have, and nothing were compressed."""
    steps, trainer = planned.length.steps, config.trainer
    kept = planned.storage.checkpoints_kept
    if steps is None or kept is None:
        return None
    if config.journal.keep is not JournalKeep.ALL and trainer.ckpt_interval != OFF:
        # Back to the oldest checkpoint, and on to the next one.
        steps = min(steps, (kept + 1) * trainer.ckpt_interval)
    return steps * planned.batch.tokens * JOURNAL_BYTES_PER_TOKEN


def _versions(config: RunConfig, planned: Plan, what: str, num: int) -> tuple[Held, ...]:
    """So many copies of a version in shared memory; none where they stay on GPUs."""
    if are_versions_on_gpus(config):
        return ()
    one = published_bytes(config, planned)
    return (Held(what=f"{num} {what}", num_bytes=None if one is None else num * one),)
