"""Units: what the numbers of the run file count. One literal table, by the last part of a key; a test wants all."""

from __future__ import annotations

from typing import Final

from tetrad_config.section import DottedKey

NONE: Final = ""
"""Of ratios, coefficients and probabilities, which have no unit."""

_BY_UNIT: Final = {
    "prompts": "train_batch_size policy_mini_batch_size critic_mini_batch_size eval_batch_size",
    "samples": "micro_train_batch_size_per_gpu micro_forward_batch_size_per_gpu eval_sampled_n max_num_seqs "
    "n_samples_per_prompt eval_n_samples_per_prompt horizon",
    "tokens": "max_prompt_length max_tokens_per_microbatch len max_seq_len max_num_batched_tokens max_input_length "
    "max_generate_length max_tokens top_k",
    "training steps": "max_steps eval_interval ckpt_interval log_example_interval max_staleness_steps",
    "optimizer steps": "num_warmup_steps",
    "epochs": "epochs update_epochs_per_batch",
    "turns": "max_turns",
    "groups": "num_parallel_generation_workers",
    "batches": "max_sample_batches",
    "checkpoints": "max_ckpts_to_keep",
    "hosts": "policy_num_nodes critic_num_nodes ref_num_nodes",
    "ranks": "policy_num_gpus_per_node critic_num_gpus_per_node ref_num_gpus_per_node fsdp_size sequence_parallel_size",
    "GPUs": "inference_engine_tensor_parallel_size inference_engine_pipeline_parallel_size "
    "inference_engine_expert_parallel_size",
    "replicas": "num_inference_engines num_replicas",
    "copies": "inference_engine_data_parallel_size",
    "processes": "num_workers",
    "threads": "threads_per_process",
    "calls": "max_concurrency",
    "tests": "max_tests",
    "documents": "topk",
    "MiB": "memory_mb",
    "seconds": "stall_timeout batch_window weight_sync_timeout lease_progress_timeout grade_timeout test_timeout "
    "total_timeout timeout",
    "nats per token": "kl_target",
    "log-probs": "logprobs",
    NONE: "rank alpha dropout lr adam_betas weight_decay max_grad_norm grpo_std_epsilon lambd gamma eps_clip_low "
    "eps_clip_high clip_ratio_c value_clip kl_loss_coef entropy_loss_coef tis_imp_ratio_cap token_tis_ratio_clip_high "
    "sequence_tis_ratio_clip_high token_mask_is_threshold_low token_mask_is_threshold_high geo_mask_high geo_mask_low "
    "product_mask_high product_mask_low outlier_token_is_threshold_low outlier_token_is_threshold_high "
    "min_replace_ratio penalty_factor tau_pos tau_neg clip_ratio clip_cov_lb clip_cov_ub kl_cov_frac ppo_kl_coef "
    "cispo_eps_clip_low cispo_eps_clip_high rope_theta seed gpu_memory_utilization temperature top_p min_p "
    "repetition_penalty reshard_after_forward",
}

UNITS: Final = {name: unit for unit, names in _BY_UNIT.items() for name in names.split()}


def unit_of(key: DottedKey) -> str:
    """Return the unit of a key's number, or an empty text where it has none.

    >>> unit_of(DottedKey("trainer.train_batch_size"))
    'prompts'
    """
    return UNITS.get(key.rpartition(".")[2], NONE)
