"""What both sides of `learner.py` train on: model shapes, batches of samples, and the work that these are.

Needs numpy alone; it is imported by TRL's environment too.
"""

# N samples · T tokens

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model of the Qwen2 architecture with tied embeddings, by its configuration alone: weights are random."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int

    @property
    def head_size(self) -> int:
        """Of one attention head."""
        return self.hidden // self.heads

    @property
    def layer_weights(self) -> int:
        """Entries of all matrices of all decoder layers."""
        attention = self.hidden * self.head_size * (2 * self.heads + 2 * self.key_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    def config(self) -> dict[str, Any]:
        """As transformers' Qwen2Config takes it."""
        return {
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 32_768,
            "tie_word_embeddings": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        }


SHAPES: Final = {
    "0.5b": Shape(hidden=896, intermediate=4864, layers=24, heads=14, key_heads=2, vocabulary=151_936),
    "1.5b": Shape(hidden=1536, intermediate=8960, layers=28, heads=12, key_heads=2, vocabulary=151_936),
    "16m": Shape(hidden=256, intermediate=768, layers=4, heads=4, key_heads=4, vocabulary=49_152),
}
"""Qwen2.5's two small ones, and one for a CPU."""

GROUP_SIZE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One measurement."""

    shape: str
    model: str
    """Folder of the model."""
    row_tokens: int
    """Tokens of one forward and backward pass."""
    rows: int
    """Passes of one optimizer step, about."""
    prompt_tokens: int = 128
    mean_response_tokens: int = 384
    num_steps: int = 5
    num_warm_up_steps: int = 2
    device: str = "cuda"
    num_threads: int = 2
    """On a CPU."""
    gradient_checkpointing: bool = False
    use_torch_compile: bool = False
    is_resharded: bool = False
    """Whether gathered parameters are given back after each use, or kept until the optimizer's step; ours only."""
    is_chunked: bool = True
    """Whether logits are made chunk by chunk; ours only."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what `text` wrote, from the other process."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """As an argument of a command."""
        return json.dumps(asdict(self))

    @property
    def mean_tokens(self) -> int:
        """Of a sample."""
        return self.prompt_tokens + self.mean_response_tokens

    @property
    def micro_batch_size(self) -> int:
        """Samples that fill a row on average."""
        return max(1, self.row_tokens // self.mean_tokens)

    @property
    def num_samples(self) -> int:
        """Of one optimizer step; whole groups."""
        wanted = self.rows * self.micro_batch_size
        return max(GROUP_SIZE, wanted // GROUP_SIZE * GROUP_SIZE)

    def response_lengths(self) -> NDArray[np.int64]:
        """int64[N]: from a third of the mean to five thirds, evenly; the same for both sides."""
        third = self.mean_response_tokens // 3
        return np.random.default_rng(0).integers(third, 5 * third + 1, self.num_samples)

    def token_ids(self, num_tokens: int) -> NDArray[np.int64]:
        """Random tokens."""
        return np.random.default_rng(1).integers(3, SHAPES[self.shape].vocabulary, num_tokens)

    @property
    def num_tokens(self) -> int:
        """Prompts and responses of a step, no padding."""
        return int(self.response_lengths().sum()) + self.num_samples * self.prompt_tokens

    def flops(self) -> float:
        """Floating point operations that a step's gradient needs, none of them repeated and none for padding.

        2 for each weight and token forward and 4 backward; the head only where a token is trained; causal attention at
        half of the square (arXiv:2204.02311, appendix B, for the first two).
        """
        shape, responses = SHAPES[self.shape], self.response_lengths()
        lengths = responses + self.prompt_tokens
        attention = 6.0 * shape.layers * shape.heads * shape.head_size * float((lengths.astype(float) ** 2).sum())
        head = 6.0 * shape.hidden * shape.vocabulary * float(responses.sum())
        return 6.0 * shape.layer_weights * float(lengths.sum()) + head + attention


def make_model(name: str, folder: Path) -> Path:
    """Save a model of that shape with random weights and a tokenizer of a few words; made where it is missing."""
    if (folder / "config.json").exists():
        return folder
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(Qwen2Config(**SHAPES[name].config()))
    model.to(torch.bfloat16).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<bos>": 1, "<eos>": 2, "a": 3}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="a"
    )
    tokenizer.save_pretrained(folder)
    return folder
