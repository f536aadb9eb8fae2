"""A model whose logits are not one matrix away from its hidden states is refused before anything is spent."""

from __future__ import annotations

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

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


def test_capped_logits_are_noticed() -> None:
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=0.5)).eval()

    with pytest.raises(UnsupportedModelError, match="more between hidden states and logits than one matrix"):
        check_model(model, layout=RowLayout.PADDED)


def test_a_model_that_ignores_reset_positions_is_noticed_in_packed_rows_only() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    forward = model.model.forward
    model.model.forward = lambda **given: forward(**given | {"position_ids": None})

    check_model(model, layout=RowLayout.PADDED)
    with pytest.raises(UnsupportedModelError, match="mixes the samples of a packed row; use padded rows"):
        check_model(model, layout=RowLayout.PACKED)
