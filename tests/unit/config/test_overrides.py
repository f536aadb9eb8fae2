"""Overrides: what the command line may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_config.overrides import MalformedValueError, parse_overrides, yaml_value
from tetrad_config.shown import shown


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_a_plus_is_welcome_and_not_needed(sign):
    parsed = parse_overrides([f"{sign}trainer.epochs=3"])

    assert [layer.tree for layer in parsed.layers] == [{"trainer": {"epochs": 3}}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-6", 1e-6),
        ("1.0e-6", 1e-6),
        ("null", None),
        ("true", True),
        ("[a,b]", ["a", "b"]),
        ("[]", []),
        ("{a: 1}", {"a": 1}),
        ("a=b", "a=b"),
        ("~/ckpts/global_step_50", "~/ckpts/global_step_50"),
        ("${oc.env:HOME}/x", "${oc.env:HOME}/x"),
        ('"yes"', "yes"),
        ("2024-01-01", "2024-01-01"),
        ("", ""),
    ],
)
def test_values_are_read_as_in_the_run_file(text, value):
    assert yaml_value(text) == value


def test_a_value_that_is_not_yaml_says_how_to_write_it():
    with pytest.raises(MalformedValueError, match=r"'\[a' is not YAML .*quotes"):
        yaml_value("[a")


@pytest.mark.parametrize("text", ["trainer.epochs", "--trainer.epochs=3", "=3", "trainer..epochs=1", "a b=1"])
def test_what_is_no_override_is_refused_with_the_forms(text):
    parsed = parse_overrides([text])

    assert [problem.key for problem in parsed.problems] == [text]
    assert "key=value, +key=value, ~key or +experiment=NAME" in parsed.problems[0].message


def test_a_deletion_takes_no_value():
    assert "without a value" in parse_overrides(["~trainer.epochs=3"]).problems[0].message


def test_presets_are_kept_in_order():
    assert parse_overrides(["+experiment=a", "trainer.seed=1", "experiment=b"]).presets == ("a", "b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(JSON.filter(lambda value: "${" not in repr(value) and "???" not in repr(value)))
def test_a_value_as_shown_reads_back_as_itself(value):
    assert yaml_value(shown(value)) == value
