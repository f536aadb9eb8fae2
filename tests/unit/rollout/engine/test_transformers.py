"""The Hugging Face runner on tiny models: rows, padding, parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from unit.rollout.engine_builders import END_ID, VOCABULARY, a_llama, a_request, reference_logprobs, weights_of

from tetrad_rollout.engine.core import BatchSettings, EngineCore
from tetrad_rollout.engine.errors import ForwardFailedError
from tetrad_rollout.engine.transformers import TransformersRunner

SIZES: dict[str, Any] = {"vocab_size": VOCABULARY, "initializer_range": 0.2, "eos_token_id": END_ID}
SHAPE: dict[str, Any] = {
    **SIZES,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def a_runner(model: PreTrainedModel | None = None) -> TransformersRunner:
    return TransformersRunner(model or a_llama(), num_threads=1)


def prompt(*ids: int) -> NDArray[np.int32]:
    return np.array(ids, np.int32)


def plain_logits(model: PreTrainedModel, *sequences: Sequence[int]) -> NDArray[np.float32]:
    """Next-token logits after each sequence, one forward each."""
    with torch.inference_mode():
        rows = [model(input_ids=torch.tensor([list(ids)])).logits[0, -1] for ids in sequences]  # type: ignore[operator]
    return torch.stack(rows).numpy()


def test_rows_joined_later_shifted_and_dropped_keep_their_own_keys_and_values() -> None:
    model = a_llama()
    runner = a_runner(a_llama())
    runner.prefill([prompt(1, 7), prompt(1, 8, 9)], repeats=[1, 2])
    runner.decode(np.array([10, 11, 12]))
    # Longer than what runs: the running rows move to the right.
    joined = runner.prefill([prompt(*range(1, 30)), prompt(5)], repeats=[1, 1])
    logits = runner.decode(np.array([13, 14, 15, 16, 17]))
    runner.keep(np.array([4, 1, 2]))
    kept = runner.decode(np.array([18, 19, 20]))

    np.testing.assert_allclose(joined, plain_logits(model, range(1, 30), [5]), atol=1e-4)
    whole = [[1, 7, 10, 13], [1, 8, 9, 11, 14], [1, 8, 9, 12, 15], [*range(1, 30), 16], [5, 17]]
    np.testing.assert_allclose(logits, plain_logits(model, *whole), atol=1e-4)
    left = [[5, 17, 18], [1, 8, 9, 11, 14, 19], [1, 8, 9, 12, 15, 20]]
    np.testing.assert_allclose(kept, plain_logits(model, *left), atol=1e-4)


def test_columns_that_nobody_attends_to_are_hidden() -> None:
    model = a_llama()
    runner = a_runner(a_llama())
    runner.prefill([prompt(*range(1, 30)), prompt(5, 6)], repeats=[1, 1])
    runner.keep(np.array([1]))
    logits = runner.decode(np.array([7]))

    assert runner._cache.layers[0].get_mask_sizes(0)[0] == 3
    np.testing.assert_allclose(logits, plain_logits(model, [5, 6, 7]), atol=1e-4)


@pytest.mark.parametrize("is_deterministic", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=5)), id="sliding-window"),
        pytest.param(Qwen3ForCausalLM(Qwen3Config(**SHAPE, tie_word_embeddings=False)), id="qwen3-untied"),
        pytest.param(GPT2LMHeadModel(GPT2Config(**SIZES, n_embd=32, n_layer=2, n_head=4, n_positions=128)), id="gpt2"),
    ],
)
def test_other_families_have_the_logprobs_of_their_plain_forward(
    model: PreTrainedModel, is_deterministic: bool
) -> None:
    core = EngineCore(a_runner(model.eval()), settings=BatchSettings(is_deterministic=is_deterministic))
    jobs = [
        core.submit(a_request(prompt=ids, seeds=(1, 2), max_new_tokens=20, ignore_eos=True))
        for ids in ([1, 2, 3], [4], list(range(5, 20)))
    ]
    while not core.is_idle:
        core.step()

    for job in jobs:
        for sample in job.samples:
            assert sample is not None
            expected = reference_logprobs(model, job.request.prompt_ids, sample.token_ids, 1.0)  # type: ignore[arg-type]
            np.testing.assert_allclose(sample.logprobs, expected, atol=2e-5)


def test_models_whose_layers_cannot_be_padded_are_refused_by_name() -> None:
    config = MambaConfig(vocab_size=8, hidden_size=16, state_size=4, num_hidden_layers=1)

    with pytest.raises((ValueError, ForwardFailedError), match=r"mamba|Mamba|LinearAttention"):
        a_runner(MambaForCausalLM(config)).prefill([prompt(1)], repeats=[1])


def test_parameters_are_views_of_the_buffer_they_are_bound_to() -> None:
    model = a_llama()
    runner = a_runner(model)
    manifest, buffer = weights_of(a_llama(seed=1), runner.layout)
    runner.bind(buffer, manifest)

    assert runner.is_bound_to(buffer)
    assert not runner.is_bound_to(buffer.copy())
    # Tied: the head reads the embedding's bytes, and no others exist.
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert "lm_head.weight" not in {spec.name for spec in runner.layout.tensors}
    np.testing.assert_array_equal(
        runner.prefill([prompt(1, 2)], repeats=[1]), a_runner(a_llama(seed=1)).prefill([prompt(1, 2)], repeats=[1])
    )


def test_a_parameter_that_was_replaced_behind_our_back_is_noticed() -> None:
    model = a_llama()
    runner = a_runner(model)
    manifest, buffer = weights_of(model, runner.layout)
    runner.bind(buffer, manifest)
    model.model.norm.weight.data = model.model.norm.weight.data.clone()

    assert not runner.is_bound_to(buffer)


def test_copied_parameters_are_those_of_the_model() -> None:
    runner = a_runner(a_llama(seed=3))
    _, expected = weights_of(a_llama(seed=3), runner.layout)
    buffer = np.zeros_like(expected)

    runner.copy_parameters(buffer)

    np.testing.assert_array_equal(buffer, expected)


@pytest.mark.parametrize(("eos", "expected"), [(3, (3,)), ([3, 4], (3, 4)), (None, (END_ID,))])
def test_end_of_sequence_comes_from_the_generation_config_first(eos: object, expected: tuple[int, ...]) -> None:
    model = a_llama()
    assert model.generation_config is not None
    model.generation_config.eos_token_id = eos

    assert a_runner(model).eos_token_ids == expected
