"""Adapters of a model whose files are not here are estimated by its name, and said to be an estimate."""

import pytest

from tetrad_cli.__main__ import main
from tetrad_config.known_shapes import SHAPES, estimated_layers
from tetrad_config.model_size import num_adapter_parameters, num_parameters
from tetrad_config.models import Lora


def all_of(model: str) -> int:
    layers = estimated_layers(model, parameters=num_parameters(model))
    assert layers is not None
    return num_adapter_parameters(layers, Lora(rank=8, target_modules=("all-linear",)))


def test_a_known_family_gives_the_number_that_peft_prints() -> None:
    assert all_of("Qwen/Qwen2.5-0.5B-Instruct") == 4_399_104


@pytest.mark.parametrize("name", SHAPES)
def test_the_layers_of_a_known_shape_hold_about_as_many_parameters_as_its_name_says(name: str) -> None:
    layers = sum(outputs * inputs for outputs, inputs in SHAPES[name].layers().values())

    assert 0.6 * num_parameters(name) < layers < 1.05 * num_parameters(name)


@pytest.mark.parametrize("name", SHAPES)
def test_one_of_unknown_family_is_estimated_within_a_factor_of_two(name: str) -> None:
    _family, _, size = name.rpartition("-")

    assert all_of(f"owner/unheard-of-{size}") == pytest.approx(all_of(name), rel=1.0)
    assert all_of(f"owner/unheard-of-{size}") > all_of(name) / 2


def test_a_name_without_a_size_stays_unknown() -> None:
    assert estimated_layers("owner/unheard-of", parameters=None) is None


def test_the_plan_of_the_lora_preset_has_numbers_and_says_that_they_are_estimates(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "+experiment=lora"]) == 0

    printed = capsys.readouterr().out
    assert "and adapters of about 4,325,376, which are trained" in printed
    assert "note: Qwen/Qwen2.5-0.5B-Instruct is not here: sizes with adapters are estimated by its name" in printed
    assert "unknown" not in printed
