"""Suggestions: a sibling first, then the same name elsewhere, then anything like it."""

import pytest

from tetrad_config.schema import fields
from tetrad_config.suggestion import did_you_mean, nearest_key


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("trainer.epoch", "trainer.epochs"),
        ("trainer.lr", "trainer.policy.optimizer_config.lr"),
        ("temperature", "generator.sampling_params.temperature"),
        ("generator.max_generate_length", "generator.sampling_params.max_generate_length"),
        ("trainr.epochs", "trainer.epochs"),
        ("trainer.algorithm.estimator", None),
    ],
)
def test_the_key_that_was_meant_is_found(written, meant):
    found = nearest_key(written, fields())

    assert found == meant or (meant is None and found != written)


def test_nothing_is_suggested_for_nonsense():
    assert nearest_key("qqqq", fields()) is None
    assert did_you_mean("qqqq", ["epochs"]) == ""
