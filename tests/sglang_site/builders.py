"""A tiny Llama that the real SGLang serves, on a CPU in float32 and on a GPU in bfloat16."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import torch
from transformers import LlamaForCausalLM
from unit.rollout.engine_builders import a_llama

from tetrad_weights import Bytes, DigestAlgorithm, Layout, Parameter, build, lay_out
from tetrad_wire.messages.weights import Manifest

IS_ON_GPU: Final = torch.cuda.is_available()
DTYPE: Final = "bfloat16" if IS_ON_GPU else "float32"
# The attention kernels of a GPU want heads of 64; smaller weights keep bfloat16's error in the log-probs small.
SHAPE: Final[dict[str, Any]] = (
    {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.1}
    if IS_ON_GPU
    else {}
)
LOGPROB_TOLERANCE: Final = 0.12 if IS_ON_GPU else 2e-4


@cache
def model(seed: int) -> LlamaForCausalLM:
    """In the engine's number format."""
    return a_llama(seed=seed, **SHAPE).to(getattr(torch, DTYPE))


@cache
def exact_model(seed: int) -> LlamaForCausalLM:
    """The same weights in float64."""
    copy = a_llama(seed=seed, **SHAPE)
    copy.load_state_dict(model(seed).state_dict())
    return copy.double()


def layout(seed: int) -> Layout:
    """Not the engine's own order of the parameters: a layout is the learner's business."""
    named = sorted(model(seed).named_parameters(), reverse=True)
    return lay_out(Parameter(name, DTYPE, tuple(value.shape)) for name, value in named)


def weights(seed: int, algorithm: DigestAlgorithm = DigestAlgorithm.XXH3_128) -> tuple[Manifest, Bytes]:
    """The parameters of a model as a learner publishes them."""
    flat = layout(seed)
    buffer = np.zeros(flat.num_bytes, np.uint8)
    parameters = dict(model(seed).named_parameters())
    for spec in flat.tensors:
        values = parameters[spec.name].detach().contiguous().reshape(-1).view(torch.uint8)
        buffer[spec.offset : spec.offset + spec.num_bytes] = values.numpy()
    return build(flat, buffer, algorithm=algorithm), buffer
