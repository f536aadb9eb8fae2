"""Refused keys: the harmless value passes, anything else has a reason."""

import pytest

from tetrad_config.refused import NOT_BUILT, OUT_OF_SCOPE, refusals
from tetrad_config.run import RunConfig
from tetrad_config.schema import fields, free_form_parent
from tetrad_config.section import DottedKey
from tetrad_config.shown import shown
from tetrad_config.tree import placed


def test_the_defaults_are_accepted():
    assert refusals(RunConfig().model_dump(mode="json")) == []


@pytest.mark.parametrize("key", OUT_OF_SCOPE)
def test_a_key_out_of_scope_is_accepted_with_its_harmless_value(load_run, key):
    load_run(f"{key}={shown(OUT_OF_SCOPE[key].accepted[0])}")


@pytest.mark.parametrize("key", OUT_OF_SCOPE)
def test_a_key_out_of_scope_is_refused_with_a_reason_otherwise(problems_of, key):
    (problem,) = problems_of(f"{key}=[other]")

    assert problem.startswith(f'{key}: ["other"] is refused: {OUT_OF_SCOPE[key].reason}')


@pytest.mark.parametrize("key", OUT_OF_SCOPE)
def test_a_key_out_of_scope_is_in_no_model(key):
    assert key not in fields()


@pytest.mark.parametrize("key", NOT_BUILT)
def test_a_key_that_is_not_built_is_in_the_models(key):
    assert key in fields() or free_form_parent(DottedKey(key))


@pytest.mark.parametrize("key", NOT_BUILT)
def test_a_key_that_is_not_built_is_refused_unless_at_an_accepted_value(key):
    accepted = [refusals(placed({}, DottedKey(key), value)) for value in NOT_BUILT[key].accepted]
    (problem,) = refusals(placed({}, DottedKey(key), "other"))

    assert not any(accepted)
    assert NOT_BUILT[key].reason in problem.message


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (
            ["trainer.policy.model.lora.rank=32", "trainer.policy.model.lora.init_method=pissa"],
            "trainer.policy.model.lora.init_method",
        ),
        (["trainer.critic.model.lora.rank=8"], "trainer.critic.model.lora.rank"),
        (["trainer.strategy=megatron"], "trainer.strategy"),
        (["generator.sampling_params.repetition_penalty=1.1"], "generator.sampling_params.repetition_penalty"),
        (["generator.run_engines_locally=false"], "generator.run_engines_locally"),
    ],
)
def test_what_cannot_be_obeyed_is_never_ignored(problems_of, overrides, key):
    assert any(problem.startswith(f"{key}: ") and "is refused: " in problem for problem in problems_of(*overrides))


@pytest.mark.parametrize("logger", ["swanlab", "[console, swanlab]"])
def test_a_logger_that_is_not_built_is_refused(problems_of, logger):
    (problem,) = problems_of(f"trainer.logger={logger}")

    assert "is not built yet; accepted: console, tensorboard" in problem


def test_true_is_not_accepted_for_one(problems_of):
    assert problems_of("trainer.policy.megatron_config.tensor_model_parallel_size=true")


def test_an_unknown_key_in_a_refused_section_is_unknown(problems_of):
    (problem,) = problems_of("trainer.policy.megatron_config.nonsense=1")

    assert problem.startswith("trainer.policy.megatron_config.nonsense: unknown key")


def test_every_reason_is_a_sentence_without_its_full_stop():
    for refusable in (*OUT_OF_SCOPE.values(), *NOT_BUILT.values()):
        assert len(refusable.reason.split()) >= 3
        assert not refusable.reason.endswith(".")
