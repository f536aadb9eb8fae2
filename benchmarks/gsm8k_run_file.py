"""The run file of `gsm8k_loop.py` as overrides, under the keys of the tutorial."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

GRAPH_SIZES: Final = "1,2,4,8,16,32,64,128,256,512,1024"
ROW_TOKENS: Final = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of a step, and how many."""

    prompts: int
    mini_prompts: int
    """Of an optimizer step."""
    samples: int
    """Of each prompt."""
    tokens: int
    """Of a sample, at most."""
    steps: int
    eval_interval: int
    """-1 evaluates never, not even before training."""


def overrides(sizes: Sizes, *, model: Path, train: Path, test: Path, run_dir: Path, backend: str) -> list[str]:
    """Learner and one engine on one GPU, GRPO with a KL loss."""
    is_evaluated = sizes.eval_interval > 0
    return [
        f"data.train_data=[{train}]",
        f"data.val_data=[{test}]",
        "trainer.run_name=benchmark-gsm8k-loop",
        f"trainer.run_dir={run_dir}",
        f"trainer.export_path={run_dir / 'exports'}",
        "trainer.resume_mode=none",
        "trainer.overwrite=true",
        "trainer.logger=[console]",
        "trainer.strategy=fsdp2",
        f"trainer.placement.colocate_all={str(backend == 'sglang').lower()}",
        *(f"trainer.placement.{role}_num_gpus_per_node=1" for role in ("policy", "critic", "ref")),
        f"trainer.policy.model.path={model}",
        f"trainer.ref.model.path={model}",
        "trainer.policy.optimizer_config.lr=1.0e-6",
        "trainer.policy.optimizer_config.max_grad_norm=1.0",
        "trainer.algorithm.advantage_estimator=grpo",
        "trainer.algorithm.use_kl_loss=true",
        "trainer.algorithm.kl_loss_coef=0.001",
        "trainer.epochs=1000",
        f"trainer.max_steps={sizes.steps}",
        f"trainer.train_batch_size={sizes.prompts}",
        f"trainer.policy_mini_batch_size={sizes.mini_prompts}",
        "trainer.micro_train_batch_size_per_gpu=8",
        "trainer.micro_forward_batch_size_per_gpu=8",
        f"trainer.max_tokens_per_microbatch={ROW_TOKENS}",
        "trainer.update_epochs_per_batch=1",
        f"trainer.eval_before_train={str(is_evaluated).lower()}",
        f"trainer.eval_interval={sizes.eval_interval}",
        f"trainer.dump_eval_results={str(is_evaluated).lower()}",
        "trainer.ckpt_interval=-1",
        "trainer.max_prompt_length=512",
        f"generator.backend={backend}",
        "generator.num_inference_engines=1",
        "generator.inference_engine_tensor_parallel_size=1",
        "generator.gpu_memory_utilization=0.8",
        "generator.enable_prefix_caching=true",
        f"generator.sampling_params.max_generate_length={sizes.tokens}",
        "generator.sampling_params.temperature=1.0",
        f"generator.eval_sampling_params.max_generate_length={sizes.tokens}",
        "generator.eval_sampling_params.temperature=0.0",
        f"generator.n_samples_per_prompt={sizes.samples}",
        "environment.env_class=gsm8k",
        "reward.num_workers=4",
        *(engine_arguments() if backend == "sglang" else ()),
    ]


def engine_arguments() -> tuple[str, ...]:
    """What keeps SGLang's start short; a step's samples fit the largest graph."""
    return (
        "generator.engine_init_kwargs.disable_prefill_cuda_graph=true",
        f"generator.engine_init_kwargs.cuda_graph_bs_decode=[{GRAPH_SIZES}]",
    )
