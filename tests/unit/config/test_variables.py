"""Variables: every TETRAD_* is read by something, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_config.process import SERVICES
from tetrad_config.schema import fields
from tetrad_config.variables import unknown_variables, variable_layers, variable_of


@pytest.mark.parametrize("key", fields())
def test_every_key_has_a_variable(key):
    layers, problems = variable_layers({variable_of(key): "1"})

    assert problems == []
    assert len(layers) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_settings_of_every_service_are_known_everywhere(service):
    assert unknown_variables({variable_of(name): "x" for name in service.model_fields}) == []


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("TETRAD_TRAINR__EPOCHS", "TETRAD_TRAINER__EPOCHS"),
        ("TETRAD_TRAINER__EPOCH", "TETRAD_TRAINER__EPOCHS"),
        ("TETRAD_RUNDIR", "TETRAD_RUN_DIR"),
        ("TETRAD_SEED", "TETRAD_TRAINER__SEED"),
        ("TETRAD_COORDINATR", "TETRAD_COORDINATOR"),
    ],
)
def test_an_unknown_variable_is_refused_with_a_suggestion(name, guess):
    (problem,) = unknown_variables({name: "1"})

    assert str(problem) == f"{name}: unknown variable; did you mean {guess}?"


def test_other_programs_variables_are_none_of_ours():
    assert unknown_variables({"HOME": "/", "TETRADE": "1", "OMP_NUM_THREADS": "1"}) == []


def test_values_are_read_as_yaml(load_run):
    config = load_run(
        TETRAD_DATA__TRAIN_DATA="[a.parquet, b.parquet]",
        TETRAD_DATA__VAL_DATA="/c.parquet",
        TETRAD_TRAINER__POLICY__OPTIMIZER_CONFIG__LR="1e-5",
        TETRAD_TRAINER__ALGORITHM__LAMBDA_="0.9",
    ).config

    assert config.data.train_data == ("a.parquet", "b.parquet")
    assert config.data.val_data == ("/c.parquet",)
    assert config.trainer.policy.optimizer_config.lr == 1e-5
    assert config.trainer.algorithm.lambd == 0.9


def test_an_engine_argument_can_be_a_variable(load_run):
    config = load_run("generator.backend=sglang", TETRAD_GENERATOR__ENGINE_INIT_KWARGS__ATTENTION_BACKEND="fa3").config

    assert config.generator.engine_init_kwargs == {"attention_backend": "fa3"}


def test_a_value_that_is_not_yaml_names_the_variable(problems_of):
    (problem,) = problems_of(TETRAD_DATA__TRAIN_DATA="[a")

    assert problem.startswith("TETRAD_DATA__TRAIN_DATA: '[a' is not YAML")


def test_a_wrong_value_names_the_variable(problems_of):
    assert problems_of(TETRAD_TRAINER__EPOCHS="-1") == [
        "trainer.epochs: -1 is less than the limit 0 (TETRAD_TRAINER__EPOCHS)"
    ]


@given(st.text(alphabet="ABCDEFG_", min_size=1, max_size=12))
def test_no_variable_is_both_unknown_and_used(rest):
    environ = {f"TETRAD_{rest}": "1"}

    layers, problems = variable_layers(environ)

    assert len(layers) + len(problems) == 1
