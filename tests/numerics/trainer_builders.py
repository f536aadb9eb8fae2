"""Builders that the trainer's tests share, in this process and in rank processes: tiny models, steps, trainers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.export import WeightShape
from tetrad_learner.trainer.options import AlgorithmOptions, OptimizerOptions, TrainerOptions

VOCABULARY = 40
# β₁ = 0 and no clip: the first moment after one step is the gradient itself. A large ε keeps Adam from turning the
# last bits of a gradient near zero into a whole step.
PLAIN = OptimizerOptions(lr=1e-2, betas=(0.0, 0.999), eps=1e-2, weight_decay=0.01, max_grad_norm=0.0)


def a_model(folder: Path, *, kind: str = "tied", seed: int = 0, layers: int = 2) -> Path:
    """Save a tiny model: `tied` is a Llama with shared embedding, `untied` a Qwen2 with biases; else a family."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.15,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    model: PreTrainedModel
    match kind:
        case "tied":
            model = LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True))
        case "untied":
            model = Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=False))
        case "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=8, tie_word_embeddings=True))
        case "gemma":
            model = GemmaForCausalLM(GemmaConfig(**shape, head_dim=8))
        case "gemma3":
            # A window shorter than the samples on every other layer.
            kinds = ["sliding_attention", "full_attention"] * layers
            model = Gemma3ForCausalLM(
                Gemma3TextConfig(**shape, head_dim=8, sliding_window=4, layer_types=kinds[:layers])
            )
        case _:
            raise ValueError(kind)
    model.save_pretrained(folder)
    return folder


@contextmanager
def one_gloo_rank(folder: Path) -> Iterator[None]:
    """A process group of one in this process; the one that is there, where there is one."""
    if dist.is_initialized():
        yield
        return
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1, timeout=timedelta(seconds=60))
    yield
    dist.destroy_process_group()


@dataclass(frozen=True, kw_only=True)
class AStep:
    """A training step as the coordinator sees it: all samples."""

    num_groups: int = 3
    group_size: int = 4
    num_mini_batches: int = 1
    update_epochs: int = 1
    seed: int = 0
    step: int = 1
    longest: int = 14
    samples: list[dict[str, NDArray[Any]]] = field(init=False)
    rewards: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        samples = [self._sample(rng) for _ in range(self.num_samples)]
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "rewards", rng.integers(0, 3, self.num_samples).astype(np.float32))

    @property
    def num_samples(self) -> int:
        return self.num_groups * self.group_size

    def share(self, *, rank: int = 0, world_size: int = 1) -> StepBatch:
        """The contiguous share of one rank."""
        bounds = np.linspace(0, self.num_samples, world_size + 1).round().astype(int)
        return self.only(range(bounds[rank], bounds[rank + 1]))

    def only(self, indices: Sequence[int]) -> StepBatch:
        """A batch that holds these samples, in this order."""
        mine = [self.samples[i] for i in indices]
        index = np.array(indices, dtype=np.int32)
        return StepBatch(
            token_ids=_joined(mine, "token_ids", np.int32),
            lengths=np.array([len(s["token_ids"]) for s in mine], dtype=np.int32),
            loss_mask=_joined(mine, "loss_mask", np.uint8),
            rollout_logprobs=_joined(mine, "rollout_logprobs", np.float32),
            sample_index=index,
            mini_batch=(index * self.num_mini_batches // self.num_samples).astype(np.int32),
            rewards=self.rewards,
            group=(np.arange(self.num_samples) // self.group_size).astype(np.int32),
            step=self.step,
            lineage=0,
            update_epochs=self.update_epochs,
        )

    def _sample(self, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        length = int(rng.integers(4, self.longest + 1))
        prompt = int(rng.integers(1, length - 1))
        mask = (np.arange(length) >= prompt).astype(np.uint8)
        if length - prompt > 3:
            mask[prompt + 2] = 0  # an observation between two turns
        return {
            "token_ids": rng.integers(0, VOCABULARY, length).astype(np.int32),
            "loss_mask": mask,
            "rollout_logprobs": (-3 * rng.random(length) * mask).astype(np.float32),
        }


def options(model: Path, *, algorithm: AlgorithmOptions | None = None, **changes: Any) -> TrainerOptions:
    """Trainer options for tests; the optimizer is PLAIN unless given."""
    settings: dict[str, Any] = {"optimizer": PLAIN, "algorithm": algorithm or AlgorithmOptions()}
    return TrainerOptions(model_path=str(model), **(settings | changes))


@dataclass(frozen=True, kw_only=True)
class Place:
    """One tensor of a dense layout."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


def dense_layout(shapes: tuple[WeightShape, ...]) -> list[Place]:
    """Tensors end to end, float32."""
    offset, places = 0, []
    for shape in shapes:
        places.append(Place(name=shape.name, dtype="float32", shape=shape.shape, offset=offset))
        offset += 4 * int(np.prod(shape.shape))
    return places


def exported(trainer: Trainer) -> NDArray[np.float32]:
    """All weights as one float32 array (meaningful on rank 0); collective."""
    layout = dense_layout(trainer.weight_shapes())
    buffer = np.zeros(layout[-1].offset + 4 * int(np.prod(layout[-1].shape)), dtype=np.uint8)
    trainer.export_into(buffer if trainer.ranks.is_first else None, layout)
    return buffer.view(np.float32)


def last_gradient(trainer: Trainer) -> NDArray[np.float32]:
    """The gradient of the last optimizer step under PLAIN, flat; collective."""
    moments = trainer._optimizer.moments()
    flat = [_whole(moment).flatten() for name, moment in moments.items() if name.startswith("exp_avg.")]
    return torch.cat(flat).cpu().numpy().copy()


def _whole(tensor: Tensor) -> Tensor:
    full: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return full


def _joined(samples: list[dict[str, NDArray[Any]]], key: str, dtype: type) -> NDArray[Any]:
    return np.concatenate([sample[key] for sample in samples] or [np.zeros(0)]).astype(dtype)
