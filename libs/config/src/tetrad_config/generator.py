"""Generator: the rollout service's engines and episodes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue

from tetrad_config.sampling import EvalSampling, Sampling
from tetrad_config.section import (
    Count,
    FileOrHubName,
    Fraction,
    NonNegativeFloat,
    Options,
    PositiveFloat,
    Seconds,
    Section,
)


class Backend(StrEnum):
    """Which inference engine generates."""

    SGLANG = "sglang"
    TRANSFORMERS = "transformers"
    FAKE = "fake"


class WeightSyncBackend(StrEnum):
    """Which collective library moves weights between GPUs."""

    NCCL = "nccl"
    GLOO = "gloo"


class KvCachePolicy(StrEnum):
    """What becomes of cached keys and values when an engine takes new weights."""

    FLUSH = "flush"
    KEEP = "keep"


class DType(StrEnum):
    """Number format of an engine's weights."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class ChatTemplateSource(StrEnum):
    """Where a chat template other than the model's own comes from."""

    NAME = "name"
    FILE = "file"


class ChatTemplate(Section):
    """`generator.chat_template`: a template other than the model's own."""

    source: Annotated[ChatTemplateSource, Field(strict=False)] = ChatTemplateSource.NAME
    """Whether `name_or_path` names a bundled template or a Jinja file."""
    name_or_path: FileOrHubName | None = None
    """Bundled template or Jinja file; null is the model's own."""


class Generator(Section):
    """`generator`: engines, episodes, sampling."""

    # ── engines ──
    backend: Annotated[Backend, Field(strict=False)] = Backend.TRANSFORMERS
    """Which inference engine generates."""
    num_inference_engines: Count = 1
    """Rollout replicas at the start of the run."""
    inference_engine_tensor_parallel_size: Count = 1
    """GPUs that one engine splits each layer over."""
    inference_engine_pipeline_parallel_size: Count = 1
    """GPUs that one engine splits the layers over."""
    inference_engine_expert_parallel_size: Count = 1
    """GPUs that one engine splits experts over."""
    inference_engine_data_parallel_size: Count = 1
    """Copies of the model inside one engine."""
    model_name: FileOrHubName = "Qwen/Qwen2.5-1.5B-Instruct"
    """Model that engines load; null means the policy's."""
    model_dtype: Annotated[DType, Field(strict=False)] = DType.BFLOAT16
    """Number format of the engine's weights."""
    gpu_memory_utilization: Fraction = 0.8
    """Share of GPU memory for weights and KV cache together."""
    max_num_seqs: Count = 1024
    """Samples that one engine runs at once."""
    max_num_batched_tokens: Count = 8192
    """Prompt tokens that one engine takes into one forward pass."""
    enable_prefix_caching: bool = True
    """Whether a group's common prompt is computed once."""
    enable_chunked_prefill: bool = True
    """Whether long prompts are computed in pieces between decode steps."""
    enforce_eager: bool = False
    """Whether CUDA graphs are off."""
    engine_init_kwargs: Options = Field(default_factory=dict)
    """Further arguments of SGLang's server; unknown ones are errors where it is installed."""
    deterministic: bool = False
    """Whether results are independent of what else is generated at the same time: one group per forward batch."""
    batch_window: NonNegativeFloat = 0.01
    """Seconds that an idle engine waits for more groups before it starts a forward batch."""
    enable_lora: bool | None = None
    """Whether SGLang keeps the base and gets adapters alone; false: merged. Null: with adapters and SGLang, true."""

    # ── weights and leases ──
    weight_sync_backend: Annotated[WeightSyncBackend, Field(strict=False)] = WeightSyncBackend.NCCL
    """How engines on other GPUs get weights: nccl, or gloo: none between GPUs, but host memory or sockets."""
    weight_sync_timeout: Seconds = 120.0
    """Seconds after which an engine that does not take new weights is quarantined."""
    kv_cache_policy: Annotated[KvCachePolicy, Field(strict=False)] = KvCachePolicy.FLUSH
    """Whether a weight update empties the cache (flush) or lets older entries be evicted (keep); none is read again."""
    verify_sync: bool = True
    """Whether each engine's log-probs of fixed tokens are compared with the learner's after each weight update."""
    lease_progress_timeout: Seconds = 60.0
    """Seconds without a new token or turn after which a group is leased to another engine."""

    # ── episodes ──
    n_samples_per_prompt: Count = 5
    """Samples of one prompt in training: the group."""
    eval_n_samples_per_prompt: Count = 1
    """Samples of one prompt in evaluation."""
    max_turns: Count = 1
    """Turns of one episode at most."""
    max_input_length: Count = 512
    """Tokens of prompt and earlier turns at most, else the sample ends; null means `trainer.max_prompt_length`."""
    batched: bool = False
    """Whether all samples of a lease go to the engine in one call; single turn only."""
    use_conversation_multi_turn: bool = True
    """Whether turns are messages of one conversation; they always are."""
    append_eos_token_after_stop_str_in_multi_turn: bool = True
    """Whether a turn ended by a stop text gets the end token, masked from the loss; it always does."""
    step_wise_trajectories: bool = False
    """Whether each turn becomes its own sample."""
    zero_reward_on_non_stop: bool = False
    """Whether a sample that did not end by itself is rewarded 0."""
    apply_overlong_filtering: bool = False
    """Whether a sample that did not end by itself is masked out of the loss."""
    chat_template: ChatTemplate = Field(default_factory=ChatTemplate)
    """A template other than the model's own."""
    chat_template_kwargs: Options = Field(default_factory=dict)
    """Variables handed to the chat template."""
    rope_scaling: dict[str, JsonValue] | None = None
    """Rotary scaling that differs from the model's own."""
    rope_theta: PositiveFloat | None = None
    """Rotary base that differs from the model's own."""

    # ── sampling ──
    sampling_params: Sampling = Field(default_factory=Sampling)
    """How training samples are drawn."""
    eval_sampling_params: EvalSampling = Field(default_factory=EvalSampling)
    """How evaluation samples are drawn."""

    @property
    def gpus_per_engine(self) -> int:
        """GPUs that one engine occupies."""
        return (
            self.inference_engine_tensor_parallel_size
            * self.inference_engine_pipeline_parallel_size
            * self.inference_engine_data_parallel_size
        )
