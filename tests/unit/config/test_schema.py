"""Schema: every key explains itself."""

import pytest
from pydantic import ValidationError

from tetrad_config.process import SERVICES
from tetrad_config.run import DERIVED, RunConfig
from tetrad_config.schema import fields, free_form_parent, is_free_form, section_at


@pytest.mark.parametrize("key", fields())
def test_every_key_has_a_sentence(key):
    description = fields()[key].description

    assert description
    assert len(description.split()) >= 3
    assert description.rstrip("`)").endswith(".")


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_has_a_sentence_and_there_are_few(service):
    assert len(service.model_fields) <= 40
    assert all((field.description or "").endswith(".") for field in service.model_fields.values())


@pytest.mark.parametrize("key", [*DERIVED, *(source for source, _ in DERIVED.values())])
def test_derived_keys_and_their_sources_exist(key):
    assert key in fields()


def test_null_means_the_derived_value():
    config = RunConfig.model_validate({"trainer": {"run_name": "a", "run_dir": None, "ckpt_path": None}})

    assert str(config.trainer.ckpt_path) == "outputs/a/checkpoints"


def test_null_means_the_default_where_nothing_is_followed():
    assert RunConfig.model_validate({"trainer": {"run_dir": None}}) == RunConfig()


def test_free_form_keys_are_those_that_libraries_check():
    free = {key for key in fields() if is_free_form(key)}

    assert "generator.engine_init_kwargs" in free
    assert free_form_parent("generator.engine_init_kwargs.attention_backend") == "generator.engine_init_kwargs"
    assert free_form_parent("generator.backend") is None


def test_a_section_is_found_by_its_path():
    assert "lr" in section_at(("trainer", "policy", "optimizer_config")).model_fields
    assert section_at(("trainer", "nope")) is None
    assert section_at(("trainer", "seed")) is None


def test_unknown_keys_are_forbidden_in_every_section():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        RunConfig.model_validate({"trainer": {"policy": {"model": {"lora": {"rnk": 1}}}}})
