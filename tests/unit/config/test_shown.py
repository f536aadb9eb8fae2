"""Shown values read back as themselves, whatever the YAML reader."""

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tetrad_config.shown import shown


@given(st.floats(allow_nan=False))
def test_floats_stay_floats_in_yaml_1_1(value):
    read = yaml.safe_load(shown(value))

    assert isinstance(read, float)
    assert read == value


def test_not_a_number_stays_so():
    assert math.isnan(yaml.safe_load(shown(math.nan)))


@given(st.text())
def test_any_text_stays_itself(text):
    assert yaml.safe_load(shown(text)) == text


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "null", "~", "0123", "1e-6", "${x}", "\x7f\u2028\ufeff😀"])
def test_words_that_yaml_would_change_stay_text(word):
    assert yaml.safe_load(shown(word)) == word
