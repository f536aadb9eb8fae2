"""Builders for the tests of the engines: a tiny Llama with its tokenizer on disk, requests, other weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tetrad_rollout.engine.protocol import GenerationRequest, RequestId, Sampling
from tetrad_weights import Bytes, Layout, build
from tetrad_wire.messages.weights import Manifest

LETTERS = "abcdefghijklmnopqrstuvwxyz .?!\n"
PAD, BOS, END = "<pad>", "<bos>", "<|end|>"
SYMBOLS = (PAD, BOS, END, "<|user|>", "<|assistant|>", "<|tool|>", *LETTERS)
END_ID = SYMBOLS.index(END)
VOCABULARY = len(SYMBOLS)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_counter = itertools.count()


def a_tokenizer(*, chat_template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """One symbol per character."""
    tokenizer = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(SYMBOLS)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    special = ["<|user|>", "<|assistant|>", "<|tool|>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        additional_special_tokens=special,
        chat_template=chat_template,
    )


def a_llama(*, seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    """Two layers, grouped queries, tied embedding; logits far from uniform."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": END_ID,
    }
    return LlamaForCausalLM(LlamaConfig(**{**shape, **changes})).eval()


def a_model_folder(folder: Path, *, seed: int = 0) -> Path:
    """A Llama and its tokenizer, as a run would be given them."""
    a_llama(seed=seed).save_pretrained(folder)
    a_tokenizer().save_pretrained(folder)
    return folder


def a_request(
    *,
    prompt: Sequence[int] = (1, 7, 8, 9),
    seeds: Sequence[int] = (1, 2),
    max_new_tokens: int = 8,
    request_id: str | None = None,
    **sampling: Any,
) -> GenerationRequest:
    """A request with an id of its own."""
    return GenerationRequest(
        request_id=RequestId(request_id or f"request-{next(_counter)}"),
        prompt_ids=np.array(prompt, np.int32),
        seeds=tuple(seeds),
        sampling=Sampling(max_new_tokens=max_new_tokens, **sampling),
    )


def weights_of(model: LlamaForCausalLM, layout: Layout) -> tuple[Manifest, Bytes]:
    """The parameters of a model as a learner would publish them."""
    buffer = np.zeros(layout.num_bytes, np.uint8)
    parameters = dict(model.named_parameters())
    for spec in layout.tensors:
        values = parameters[spec.name].detach().numpy().reshape(-1)
        buffer[spec.offset : spec.offset + spec.num_bytes] = values.view(np.uint8)
    return build(layout, buffer), buffer


@torch.inference_mode()
def reference_logprobs(
    model: LlamaForCausalLM, prompt: NDArray[np.int32], tokens: NDArray[np.int32], temperature: float
) -> NDArray[np.float32]:
    """Log-probs of `tokens` after `prompt` from one plain forward without cache."""
    ids = torch.from_numpy(np.concatenate([prompt, tokens]).astype(np.int64))
    logits = model(input_ids=ids[None]).logits[0, len(prompt) - 1 : -1] / (temperature or 1.0)
    chosen = torch.log_softmax(logits, -1).gather(1, ids[len(prompt) :, None])[:, 0]
    result: NDArray[np.float32] = chosen.float().numpy()
    return result
