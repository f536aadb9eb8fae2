"""Which layers get an adapter, what a name that finds none says, and how a layer and its adapter are merged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from tetrad_learner.trainer.adapters import add_adapters, chosen_layers
from tetrad_learner.trainer.errors import AdapterError
from tetrad_learner.trainer.options import LoraOptions
from tetrad_learner.trainer.policy import Policy, named_adapters, named_trained, named_weights

SHAPE: dict[str, Any] = {
    "vocab_size": 30,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
}
PROJECTIONS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def a_llama(*, is_tied: bool = False) -> PreTrainedModel:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=is_tied)).eval()


def a_gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=32)).eval()


def lora(*targets: str, exclude: tuple[str, ...] = ()) -> LoraOptions:
    return LoraOptions(rank=2, target_modules=targets or ("all-linear",), exclude_modules=exclude)


@pytest.mark.parametrize("is_tied", [True, False])
def test_all_linear_is_every_layer_but_the_output_layer(is_tied: bool) -> None:
    chosen = chosen_layers(a_llama(is_tied=is_tied), lora())

    assert len(chosen) == 2 * len(PROJECTIONS)
    assert sorted({path.rpartition(".")[2] for path in chosen}) == PROJECTIONS


def test_names_are_paths_or_the_ends_of_paths() -> None:
    model = a_llama()

    assert chosen_layers(model, lora("q_proj", exclude=("layers.0.self_attn.q_proj",))) == [
        "model.layers.1.self_attn.q_proj"
    ]
    assert chosen_layers(model, lora("mlp.up_proj")) == ["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (lora("qproj"), f"target_modules: this model has no linear layer qproj; it has {', '.join(PROJECTIONS)}"),
        (lora("q_proj", "norm"), "target_modules: this model has no linear layer norm"),
        (lora("embed_tokens"), "target_modules: this model has no linear layer embed_tokens"),
        (lora("lm_head"), "target_modules: lm_head is the output layer"),
        (lora(exclude=("kproj",)), "exclude_modules: this model has no linear layer kproj"),
        (lora("q_proj", exclude=("q_proj",)), "exclude_modules q_proj leaves no layer to train"),
    ],
)
def test_a_choice_that_fits_no_layer_is_refused_with_what_there_is(choice: LoraOptions, message: str) -> None:
    with pytest.raises(AdapterError) as caught:
        add_adapters(a_llama(), choice, seed=0, base="m")

    assert message in str(caught.value)


@pytest.mark.parametrize("build", [a_llama, a_gpt2], ids=["llama", "gpt2"])
def test_a_weight_and_its_correction_are_what_the_layer_computes(build: Any) -> None:
    """GPT-2's layers keep their weight transposed."""
    plain, adapted = build(), build()
    policy = Policy(adapted, temperature=1.0, adapters=add_adapters(adapted, lora(), seed=0, base="m"))
    assert policy.adapters is not None
    with torch.no_grad():
        for _name, factor in named_adapters(policy):
            factor.normal_(std=0.3)
        for name, weight in named_weights(policy):
            correction = policy.adapters.correction(name)
            if correction is not None:
                plain.get_parameter(name).copy_(weight + correction)

    ids = torch.arange(20).reshape(2, 10)
    found, expected = (model(input_ids=ids).logits for model in (plain, adapted))

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, build()(input_ids=ids).logits, atol=1e-2)


def test_switched_off_the_model_is_its_base_bit_for_bit_and_comes_back() -> None:
    ids = torch.arange(12)[None]
    base = a_llama()(input_ids=ids).logits
    model = a_llama()
    adapters = add_adapters(model, lora(), seed=0, base="m")
    with torch.no_grad():
        for _name, factor in adapters.named_tensors():
            factor.normal_(std=0.3)
    adapted = model(input_ids=ids).logits

    with adapters.off():
        off = model(input_ids=ids).logits
        assert all(factor.requires_grad for _name, factor in adapters.named_tensors())

    assert torch.equal(off, base)
    assert torch.equal(model(input_ids=ids).logits, adapted)
    assert all(factor.requires_grad for _name, factor in adapters.named_tensors())


def test_names_of_weights_are_those_of_the_model_without_adapters() -> None:
    plain, adapted = Policy(a_llama(), temperature=1.0), a_llama()
    policy = Policy(adapted, temperature=1.0, adapters=add_adapters(adapted, lora("q_proj"), seed=0, base="m"))

    assert [name for name, _ in named_weights(policy)] == [name for name, _ in named_weights(plain)]
    assert [name for name, _ in named_trained(policy)] == [
        f"model.layers.{layer}.self_attn.q_proj.{factor}.default.weight"
        for layer in range(2)
        for factor in ("lora_A", "lora_B")
    ]
    assert dict(named_trained(policy)).keys() <= dict(adapted.named_parameters()).keys()


def test_a_model_with_biases_keeps_them_under_their_names() -> None:
    model = a_gpt2()
    names = [name for name, _ in named_weights(Policy(a_gpt2(), temperature=1.0))]

    adapters = add_adapters(model, lora("c_attn"), seed=0, base="m")

    assert [name for name, _ in named_weights(Policy(model, temperature=1.0, adapters=adapters))] == names


def test_models_of_another_family_have_the_same_layers() -> None:
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**SHAPE, tie_word_embeddings=False))

    assert add_adapters(model, lora("q_proj", "v_proj"), seed=0, base="m").num_layers == 4
