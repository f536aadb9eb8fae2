"""A causal language model that answers with log-probabilities of chosen tokens, never with logits.

Owns the way from token ids to log-probabilities, and the lists of a model's weights: all of them, and the trained
ones. Must not know of gradients' fate, optimizers or files.
"""

# R rows of L positions · H hidden size · V vocabulary · T trained tokens

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel

from tetrad_algorithms.logprobs import token_logprobs
from tetrad_learner.trainer.adapters import Adapters


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardInputs:
    """One micro-batch on the device; the fields are those of packing.MicroBatch."""

    input_ids: Tensor
    """int64[R, L]"""
    position_ids: Tensor | None
    """int64[R, L]"""
    bounds: Tensor | None = None
    """int32[N + 1]: where samples of a packed row begin and end; None where a row is one sample."""
    longest: int | None = None
    """No sample of a packed row has more positions."""
    source_T: Tensor
    """int64[T]"""
    target_T: Tensor
    """int64[T]: the trained tokens themselves."""


class Policy(nn.Module):
    """The model, called in one piece, so that the shards of embedding and head are gathered around the whole call."""

    def __init__(
        self,
        causal_lm: PreTrainedModel,
        *,
        temperature: float,
        is_compiled: bool = False,
        adapters: Adapters | None = None,
    ) -> None:
        super().__init__()
        self.causal_lm = causal_lm
        self.temperature = temperature
        self.adapters = adapters
        self._is_compiled = is_compiled

    def forward(self, inputs: ForwardInputs) -> tuple[Tensor, Tensor]:
        """Return float32[T] log-probabilities and float32[T] entropies of the trained tokens' distributions."""
        hidden_TH = hidden_states(self.causal_lm.base_model, inputs)
        head_VH = self.causal_lm.get_output_embeddings().weight  # type: ignore[no-untyped-call]  # transformers' own
        return token_logprobs(
            # A head in float32 takes states in float32.
            hidden_TH.to(head_VH.dtype),
            head_VH,
            inputs.target_T,
            temperature=self.temperature,
            is_compiled=self._is_compiled,
        )

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: token ids lie below."""
        return int(self.causal_lm.config.get_text_config().vocab_size)


def hidden_states(body: nn.Module, inputs: ForwardInputs) -> Tensor:
    """Return [T, H]: the last layer's output where each trained token is predicted."""
    packing = {
        "cu_seq_lens_q": inputs.bounds,
        "cu_seq_lens_k": inputs.bounds,
        "max_length_q": inputs.longest,
        "max_length_k": inputs.longest,
    }
    options = {} if inputs.bounds is None else packing
    output = body(input_ids=inputs.input_ids, position_ids=inputs.position_ids, use_cache=False, **options)
    states: Tensor = output.last_hidden_state
    return states.flatten(0, 1).index_select(0, inputs.source_T)


def named_weights(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """Yield what a Hugging Face folder of the model holds, in its order; tied tensors once, under the first name.

    Adapters are not among them: no such folder knows them.
    """
    seen: set[int] = set()
    for name, tensor in policy.causal_lm.state_dict(keep_vars=True).items():
        base_name = name if policy.adapters is None else policy.adapters.base_name(name)
        if id(tensor) not in seen and base_name is not None:
            seen.add(id(tensor))
            yield base_name, tensor


def named_adapters(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """Yield the adapters, where there are any."""
    if policy.adapters is not None:
        yield from policy.adapters.named_tensors()


def named_trained(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """Yield what training changes: the adapters where there are any, else everything."""
    yield from named_weights(policy) if policy.adapters is None else named_adapters(policy)
