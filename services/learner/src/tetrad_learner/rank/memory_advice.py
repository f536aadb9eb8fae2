"""What to change in a run file whose training does not fit into memory: the smallest change first. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tetrad_config import RunConfig
from tetrad_learner.trainer.shortage import Lowered, Pass


def size_that_fits(lowered: Lowered) -> str:
    """Return the override with which the run would have begun as it goes on now."""
    if lowered.counts_tokens:
        return f"trainer.max_tokens_per_microbatch={lowered.after}"
    kind = "train" if lowered.of is Pass.TRAIN else "forward"
    return f"trainer.micro_{kind}_batch_size_per_gpu={lowered.after}"


def advice(config: RunConfig, *, device: str) -> str:
    """Return what is left where a single sample does not fit, in the order of what it costs."""
    return "set " + ", or ".join(_changes(config, is_gpu=device != "cpu"))


def _changes(config: RunConfig, *, is_gpu: bool) -> Iterator[str]:
    trainer, generator = config.trainer, config.generator
    if not trainer.gradient_checkpointing:
        yield "trainer.gradient_checkpointing=true"
    if is_gpu and not trainer.policy.fsdp_config.cpu_offload:
        yield "trainer.policy.fsdp_config.cpu_offload=true"
    longest = generator.sampling_params.max_generate_length
    yield f"generator.sampling_params.max_generate_length={max(1, longest // 2)} (now {longest})"
    if trainer.policy.model.lora.rank == 0:
        yield "trainer.policy.model.lora.rank=32"
    yield f"trainer.placement.policy_num_gpus_per_node={2 * trainer.placement.policy_num_gpus_per_node}"
