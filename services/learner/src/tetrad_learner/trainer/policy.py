"""A causal language model that answers with log-probabilities of chosen tokens, never with logits.

Owns the way from token ids to log-probabilities, and the list of a model's weights. Must not know of gradients'
fate, optimizers or files.
"""

# R rows of L positions · H hidden size · V vocabulary · T trained tokens

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel

from tetrad_algorithms.logprobs import token_logprobs


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardInputs:
    """One micro-batch on the device; the fields are those of packing.MicroBatch."""

    input_ids: Tensor
    """int64[R, L]"""
    position_ids: Tensor | None
    """int64[R, L]"""
    source_T: Tensor
    """int64[T]"""
    target_T: Tensor
    """int64[T]: the trained tokens themselves."""


class Policy(nn.Module):
    """The model, called in one piece, so that the shards of embedding and head are gathered around the whole call."""

    def __init__(self, causal_lm: PreTrainedModel, *, temperature: float) -> None:
        super().__init__()
        self.causal_lm = causal_lm
        self.temperature = temperature

    def forward(self, inputs: ForwardInputs) -> tuple[Tensor, Tensor]:
        """Return float32[T] log-probabilities and float32[T] entropies of the trained tokens' distributions."""
        body = self.causal_lm.base_model(input_ids=inputs.input_ids, position_ids=inputs.position_ids, use_cache=False)
        hidden_TH = body.last_hidden_state.flatten(0, 1).index_select(0, inputs.source_T)
        head_VH = self.causal_lm.get_output_embeddings().weight  # type: ignore[no-untyped-call]  # transformers' own
        return token_logprobs(hidden_TH, head_VH, inputs.target_T, temperature=self.temperature)

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: token ids lie below."""
        return int(self.causal_lm.config.get_text_config().vocab_size)


def named_weights(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """Yield what a Hugging Face folder of the model holds, in its order; tied tensors once, under the first name."""
    seen: set[int] = set()
    for name, tensor in policy.causal_lm.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, tensor
