"""Runs a Hugging Face causal language model for the engine core; float32 on a CPU, any dtype on other devices.

Each prompt is prefilled once and its keys and values are copied for its samples. Rows are right-aligned, padded
on the left. Owns the model, its cache and where its parameters lie. Must not know requests, versions or threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

from tetrad_rollout.engine.errors import ForwardFailedError, LayoutError
from tetrad_rollout.engine.kv_cache import RowCache
from tetrad_rollout.engine.protocol import WeightLayout
from tetrad_weights.digest import Bytes
from tetrad_weights.layout import Layout, Parameter, lay_out

# Rows are shifted against each other by padding, which only these kinds of layers do not mind.
_LAYER_TYPES: Final = frozenset({"full_attention", "sliding_attention"})
_NO_LIMIT: Final = 2**31 - 1
# Spreads the probe's tokens over the vocabulary; any prime would do.


class TransformersRunner:
    """One causal language model and the cache of its running rows."""

    def __init__(self, model: PreTrainedModel, *, num_threads: int) -> None:
        _check_layers(model.config)
        # A causal language model of any family: what their forwards take and give has no common type.
        self._model: Any = model
        self._model.train(mode=False)
        self._model.requires_grad_(requires_grad=False)
        self._config: PreTrainedConfig = model.config.get_text_config()
        self._num_threads = num_threads
        # Tied parameters are one Parameter under one name, so that binding one binds all.
        self._parameters: Mapping[str, torch.nn.Parameter] = dict(model.named_parameters())
        self._device = next(iter(self._parameters.values())).device
        self.layout: Layout = lay_out(
            Parameter(name, _dtype_name(parameter.dtype), tuple(parameter.shape))
            for name, parameter in self._parameters.items()
        )
        self._cache = RowCache()
        # Columns before each running row's first token.
        self._padding = np.zeros(0, np.int64)

    @property
    def vocab_size(self) -> int:
        """Ids are in [0, this)."""
        return int(self._config.vocab_size)

    @property
    def max_context(self) -> int:
        """Prompt and new tokens of one row, at most."""
        return int(getattr(self._config, "max_position_embeddings", None) or _NO_LIMIT)

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Of the generation config; of the model's config where that names none."""
        eos = self._model.generation_config.eos_token_id
        eos = self._config.eos_token_id if eos is None else eos
        return () if eos is None else tuple(eos) if isinstance(eos, list) else (int(eos),)

    def start(self) -> None:
        """Bound the threads of a forward; services share their cores."""
        torch.set_num_threads(self._num_threads)

    # -- forwards ----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[npt.NDArray[np.int32]], *, repeats: Sequence[int]) -> npt.NDArray[np.float32]:
        """See `Runner.prefill`."""
        lengths = np.array([prompt.size for prompt in prompts])
        width = int(lengths.max())
        ids = np.zeros((len(prompts), width), np.int64)
        for row, prompt in zip(ids, prompts, strict=True):
            row[width - prompt.size :] = prompt
        prefilled = DynamicCache()
        logits = self._forward(ids, padding=width - lengths, cache=prefilled, end=width)
        shift = max(0, width - self._cache.end) if len(self._padding) else 0
        self._cache.join(list(_keys_and_values(prefilled)), self._tensor(np.array(repeats)))
        new_padding = np.repeat(self._cache.end - lengths, repeats)
        self._padding = np.concatenate([self._padding + shift, new_padding])
        return np.repeat(logits, repeats, axis=0)

    @torch.inference_mode()
    def decode(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """See `Runner.decode`."""
        first = int(self._padding.min())
        self._cache.hide_columns(first)
        end = self._cache.end - first
        return self._forward(tokens[:, None], padding=self._padding - first, cache=self._cache, end=end + 1)

    def _forward(
        self, ids: npt.NDArray[np.int64], *, padding: npt.NDArray[np.int64], cache: object, end: int
    ) -> npt.NDArray[np.float32]:
        """Next-token logits [R, V] after the last of `ids` [R, T], whose last column is `end` − 1."""
        columns = np.arange(end - ids.shape[1], end)
        positions = np.maximum(columns[None, :] - padding[:, None], 0)
        is_token = np.arange(end)[None, :] >= padding[:, None]
        output = self._model(
            input_ids=self._tensor(ids),
            position_ids=self._tensor(positions),
            # None lets attention take its fastest path; the two agree where nothing is padded.
            attention_mask=self._tensor(is_token) if padding.any() else None,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: npt.NDArray[np.float32] = output.logits[:, -1].float().cpu().numpy()
        return logits

    @torch.inference_mode()
    def keep(self, order: npt.NDArray[np.int64]) -> None:
        """See `Runner.keep`."""
        self._cache.keep(order.tolist())
        self._padding = self._padding[order]

    def clear(self) -> None:
        """See `Runner.clear`."""
        self._cache = RowCache()
        self._padding = np.zeros(0, np.int64)

    # -- parameters --------------------------------------------------------------------------------------------

    def copy_parameters(self, buffer: Bytes) -> None:
        """See `Runner.copy_parameters`."""
        for parameter, place in self._places(buffer, self.layout):
            place.copy_(parameter)

    def bind(self, buffer: Bytes, layout: WeightLayout) -> None:
        """See `Runner.bind`: on a CPU parameters become views of `buffer`, on other devices they are copied."""
        for parameter, place in self._places(buffer, layout):
            if self._device.type == "cpu":
                parameter.data = place
            else:
                parameter.data.copy_(place)
        self._bound_layout = layout

    def is_bound_to(self, buffer: Bytes) -> bool:
        """See `Runner.is_bound_to`."""
        places = self._places(buffer, self._bound_layout)
        if self._device.type == "cpu":
            return all(parameter.data_ptr() == place.data_ptr() for parameter, place in places)
        return all(torch.equal(parameter.data, place.to(self._device)) for parameter, place in places)

    def _places(self, buffer: Bytes, layout: WeightLayout) -> Iterator[tuple[torch.nn.Parameter, torch.Tensor]]:
        for spec in layout.tensors:
            part = torch.from_numpy(buffer[spec.offset : spec.offset + spec.num_bytes])
            yield self._parameters[spec.name], part.view(_dtype(spec.dtype)).view(tuple(spec.shape))

    @torch.inference_mode()
    def probe(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """See `Runner.probe`."""
        logits = self._model(input_ids=self._tensor(tokens[None, :]), use_cache=False).logits[0, -1].float()
        logprobs = torch.log_softmax(logits, dim=-1)[self._tensor(tokens)]
        result: npt.NDArray[np.float32] = logprobs.cpu().numpy()
        return result

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def load_model(path: str | Path, *, device: str, dtype: str) -> PreTrainedModel:
    """A causal language model from a Hugging Face folder."""
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=_dtype(dtype))
    assert isinstance(model, PreTrainedModel)
    moved: Any = model
    moved.to(device)
    return model


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise LayoutError(f"{name!r} is no torch dtype; use float32 or bfloat16")
    return dtype


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_layers(config: PreTrainedConfig) -> None:
    other = set(getattr(config.get_text_config(), "layer_types", None) or ()) - _LAYER_TYPES
    if other or config.is_encoder_decoder:
        what = f"has layers of type {sorted(other)}" if other else "is an encoder-decoder"
        raise ValueError(f"{config.model_type} {what}; the transformers engine runs decoders with attention only")


def _keys_and_values(prefilled: DynamicCache) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Both [P, H, T, D], layer by layer."""
    for layer in prefilled.layers:
        if type(layer) is not DynamicLayer or layer.keys is None or layer.values is None:
            raise ForwardFailedError(f"a layer keeps a {type(layer).__name__}; this engine joins keys and values only")
        yield layer.keys, layer.values
