"""A model whose logits are not one matrix away from its hidden states is refused before anything is spent."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from tetrad_learner.trainer.errors import UnsupportedModelError
from tetrad_learner.trainer.options import RowLayout
from tetrad_learner.trainer.probe import check_model

SHAPE = {
    "vocab_size": 30,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}


@pytest.mark.parametrize("layout", RowLayout)
def test_a_plain_model_passes(layout: RowLayout) -> None:
    torch.manual_seed(0)

    check_model(LlamaForCausalLM(LlamaConfig(**SHAPE)).eval(), layout=layout)


def test_scaled_logits_are_noticed() -> None:
    torch.manual_seed(0)
    model = GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=4.0)).eval()

    with pytest.raises(UnsupportedModelError, match="more between hidden states and logits than one matrix"):
        check_model(model, layout=RowLayout.PADDED)


def test_capped_attention_is_noticed() -> None:
    model = Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8)).eval()

    with pytest.raises(UnsupportedModelError, match="Gemma2ForCausalLM needs another attention"):
        check_model(model, layout=RowLayout.PADDED)


def test_a_model_that_hides_the_bounds_of_samples_is_noticed_in_packed_rows_only() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    forward = model.model.forward
    model.model.forward = lambda input_ids, **_given: forward(input_ids=input_ids)

    check_model(model, layout=RowLayout.PADDED)
    with pytest.raises(UnsupportedModelError, match="mixes the samples of a packed row"):
        check_model(model, layout=RowLayout.PACKED)
