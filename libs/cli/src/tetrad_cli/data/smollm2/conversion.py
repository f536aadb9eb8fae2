"""A GGUF file of the Llama family to a Hugging Face folder.

The only module of this package that imports torch; it is imported when a conversion begins.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from gguf import GGUFReader, ReaderTensor
from gguf.quants import dequantize
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

LAYER_NAMES: Final[Mapping[str, str]] = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
GLOBAL_NAMES: Final[Mapping[str, str]] = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
# The GGUF leaves these unset or at a default that is wrong for a chat model.
SPECIAL_TOKENS: Final[Mapping[str, str]] = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|im_end|>",
}
BOS_ID, EOS_ID = 1, 2

_LAYER: Final = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


def convert(gguf: Path, output_dir: Path, *, dtype: str) -> int:
    """Write the model in `gguf` to `output_dir` with weights of `dtype`, and return its number of parameters."""
    reader = GGUFReader(gguf)
    config = read_config(reader)
    model = LlamaForCausalLM(config)
    _load(model, dict(_named(tensor, config) for tensor in reader.tensors))
    output_dir.mkdir(parents=True, exist_ok=True)
    model.to(getattr(torch, dtype)).save_pretrained(output_dir)
    _save_tokenizer(gguf, output_dir)
    return sum(parameter.numel() for parameter in model.parameters())


def read_config(reader: GGUFReader) -> LlamaConfig:
    """Return the Hugging Face configuration of the model in a GGUF file."""

    def field(key: str) -> Any:
        return reader.fields[f"llama.{key}"].contents()

    return LlamaConfig(
        vocab_size=field("vocab_size"),
        hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"),
        num_attention_heads=field("attention.head_count"),
        num_key_value_heads=field("attention.head_count_kv"),
        max_position_embeddings=field("context_length"),
        rms_norm_eps=round(field("attention.layer_norm_rms_epsilon"), 12),
        rope_parameters={"rope_type": "default", "rope_theta": field("rope.freq_base")},
        tie_word_embeddings=True,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        pad_token_id=EOS_ID,
    )


def undo_rope_permutation(weight: torch.Tensor, *, num_heads: int) -> torch.Tensor:
    """Put the two rotary halves of q or k, which GGUF interleaves, one after the other again.

    `weight` is [num_heads · head_dim, hidden]; so is what returns.

    >>> undo_rope_permutation(torch.arange(4).reshape(4, 1), num_heads=1).flatten().tolist()
    [0, 2, 1, 3]
    """
    half = weight.shape[0] // num_heads // 2
    return weight.reshape(num_heads, half, 2, *weight.shape[1:]).swapaxes(2, 1).reshape(weight.shape)


def _named(tensor: ReaderTensor, config: LlamaConfig) -> tuple[str, torch.Tensor]:
    """Return a tensor's Hugging Face name and its values in float32."""
    weight = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()).float()
    if tensor.name in GLOBAL_NAMES:
        return GLOBAL_NAMES[tensor.name], weight
    match = _LAYER.fullmatch(tensor.name)
    if not match or match[2] not in LAYER_NAMES:
        raise ValueError(f"tensor {tensor.name} belongs to no Llama model")
    layer, kind = match.groups()
    if kind == "attn_q":
        weight = undo_rope_permutation(weight, num_heads=config.num_attention_heads)
    elif kind == "attn_k":
        # None is how a configuration says "as many as query heads".
        num_heads = config.num_key_value_heads or config.num_attention_heads
        weight = undo_rope_permutation(weight, num_heads=num_heads)
    return f"model.layers.{layer}.{LAYER_NAMES[kind]}.weight", weight


def _load(model: LlamaForCausalLM, weights: Mapping[str, torch.Tensor]) -> None:
    missing, unexpected = model.load_state_dict(weights, strict=False)
    # The output layer is the embedding; nothing else may be absent.
    if set(missing) - {"lm_head.weight"} or unexpected:
        raise ValueError(f"the GGUF lacks {missing} and has {unexpected} too many")
    model.tie_weights()


def _save_tokenizer(gguf: Path, output_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    tokenizer.add_special_tokens(dict(SPECIAL_TOKENS))
    # True, the GGUF's default, would drop spaces before punctuation when it decodes.
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.save_pretrained(output_dir)
