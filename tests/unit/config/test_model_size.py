"""Model size: from file headers, else from the name."""

import json

import pytest

from tetrad_config import num_parameters
from tetrad_config.interpolation import asset
from tetrad_config.model_size import linear_layers, num_adapter_parameters
from tetrad_config.models import Lora


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 500_000_000),
        ("Qwen/Qwen2.5-1.5B", 1_500_000_000),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135_000_000),
        ("meta-llama/Llama-3.1-8b", 8_000_000_000),
        ("gpt2", None),
        ("org/my-model", None),
    ],
)
def test_a_name_may_say_the_size(name, parameters):
    assert num_parameters(name) == parameters


def test_a_folder_is_counted_from_its_headers(tmp_path):
    header = {"__metadata__": {"format": "pt"}, "a": {"shape": [2, 3]}, "b": {"shape": []}, "c": {"shape": [5]}}
    content = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(content).to_bytes(8, "little") + content + b"\0" * 99)

    assert num_parameters(str(tmp_path)) == 12


def test_a_broken_file_is_unknown(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)

    assert num_parameters(str(tmp_path)) is None


def test_the_demos_model_has_less_than_half_a_million():
    assert 400_000 < num_parameters(asset("demo/warm_start")) < 500_000


def test_linear_layers_lie_between_a_models_two_ends():
    layers = linear_layers(asset("demo/warm_start"))

    assert {path.rpartition(".")[2] for path in layers} == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }
    assert linear_layers("Qwen/Qwen2.5-0.5B-Instruct") is None


@pytest.mark.parametrize(
    ("chosen", "parameters"),
    [
        ({}, 4 * (10 + 12 + 10)),
        ({"target_modules": ("q_proj",)}, 4 * (10 + 12)),
        ({"target_modules": ("layers.1.q_proj",)}, 4 * 12),
        ({"exclude_modules": ("up_proj",)}, 4 * (10 + 12)),
    ],
)
def test_an_adapter_has_its_rank_times_outputs_and_inputs(chosen, parameters):
    layers = {"layers.0.q_proj": (4, 6), "layers.1.q_proj": (4, 8), "layers.0.up_proj": (7, 3)}

    assert num_adapter_parameters(layers, Lora(rank=4, **chosen)) == parameters
