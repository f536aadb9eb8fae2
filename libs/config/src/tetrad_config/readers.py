"""Readers: which process acts on a key of the run file. One literal table, which a test compares with the sources."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from tetrad_config.refused import NOT_BUILT
from tetrad_config.section import DottedKey


class Reader(StrEnum):
    """A process that reads the run file."""

    COORDINATOR = "coordinator"
    RANKS = "trainer ranks"
    ROLLOUT = "rollout"
    REWARD = "reward"
    BROADCASTER = "broadcaster"
    LAUNCHER = "launcher"


_C, _T, _R, _W, _B, _L = Reader

READERS: Final[Mapping[str, tuple[Reader, ...]]] = {
    "data": (_C, _L),
    "trainer": (_C,),
    "trainer.placement": (),
    "trainer.placement.colocate_all": (_C, _T),
    "trainer.placement.policy_num_nodes": (_C, _L),
    "trainer.placement.policy_num_gpus_per_node": (_C, _T, _L),
    "trainer.policy": (_T,),
    "trainer.policy.model.path": (_C, _T, _L),
    "trainer.policy.model.lora.rank": (_T, _R),
    "trainer.policy.model.lora.target_modules": (_T, _R),
    "trainer.policy.optimizer_config.offload_after_step": (),
    "trainer.ref": (_T,),
    "trainer.ref.model.path": (_C, _T, _L),
    "trainer.critic": (_T,),
    "trainer.critic.model.path": (_C, _T, _L),
    "trainer.critic.model.lora": (),
    "trainer.critic.optimizer_config.offload_after_step": (),
    "trainer.algorithm": (_T,),
    "trainer.algorithm.dynamic_sampling": (_C,),
    "trainer.algorithm.overlong_buffer": (_C,),
    "trainer.bf16": (_T,),
    "trainer.gradient_checkpointing": (_T,),
    "trainer.flash_attn": (_T,),
    "trainer.use_sample_packing": (_T,),
    "trainer.seed": (_C, _T),
    "trainer.epochs": (_C, _L),
    "trainer.max_steps": (_C, _L),
    "trainer.update_epochs_per_batch": (_T,),
    "trainer.train_batch_size": (_C, _T),
    "trainer.policy_mini_batch_size": (_C, _T),
    "trainer.critic_mini_batch_size": (_T,),
    "trainer.micro_train_batch_size_per_gpu": (_T,),
    "trainer.micro_forward_batch_size_per_gpu": (_T,),
    "trainer.max_tokens_per_microbatch": (_T,),
    "trainer.max_prompt_length": (_R,),
    "trainer.update_ref_every_epoch": (_T,),
    "trainer.eval_batch_size": (),
    "trainer.dump_eval_results": (_C, _L),
    "trainer.ckpt_path": (_C, _T, _L),
    "trainer.export_path": (_C, _L),
    "trainer.resume_mode": (_C, _L),
    "trainer.resume_path": (_C, _L),
    "trainer.run_name": (_C, _L),
    "trainer.run_dir": (_L,),
    "trainer.overwrite": (_L,),
    "trainer.stall_timeout": (_C, _R, _L),
    "generator": (_R,),
    "generator.backend": (_T, _R, _L),
    "generator.num_inference_engines": (_L,),
    "generator.model_dtype": (_T, _R),
    "generator.deterministic": (_C, _R),
    "generator.enable_lora": (_T, _R),
    "generator.weight_sync_backend": (_T, _R),
    "generator.weight_sync_timeout": (_T, _R, _B),
    "generator.verify_sync": (_T,),
    "generator.lease_progress_timeout": (_C, _R),
    "generator.n_samples_per_prompt": (_C, _R),
    "generator.eval_n_samples_per_prompt": (_C, _L),
    "generator.max_turns": (_C,),
    "generator.max_input_length": (_T, _R),
    "generator.batched": (),
    "generator.apply_overlong_filtering": (_C,),
    "generator.sampling_params": (_C,),
    "generator.sampling_params.max_generate_length": (_C, _T),
    "generator.sampling_params.temperature": (_C, _T),
    "generator.eval_sampling_params": (_C,),
    "environment": (_W,),
    "environment.env_class": (_C, _W, _L),
    "reward": (_W,),
    "reward.num_replicas": (_L,),
    "reward.grade_timeout": (_R, _W, _L),
    "reward.implementation": (_W, _L),
    "resources": (_L,),
    "journal": (_C,),
}
"""A key, or a section with all that is in it → who acts on it; the nearest row counts."""


def readers_of(key: DottedKey) -> tuple[Reader, ...]:
    """Return who acts on a key; nobody where it is refused, must be as another key is, or has no effect.

    >>> [reader.value for reader in readers_of(DottedKey("trainer.bf16"))]
    ['trainer ranks']
    """
    if key in NOT_BUILT:
        return ()
    parts = key.split(".")
    above = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((READERS[name] for name in above if name in READERS), ())
