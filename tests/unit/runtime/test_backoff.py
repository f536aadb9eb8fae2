"""Delays grow to a ceiling and never beyond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_runtime.backoff import Backoff


def test_delays_double_up_to_the_limit():
    backoff = Backoff(first_s=0.5, limit_s=30.0)

    assert [backoff.delay_s(n) for n in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


@given(failures=st.integers(0, 10**9), draw=st.floats(0, 1, exclude_max=True), jitter=st.floats(0, 1))
def test_a_delay_is_between_nothing_and_the_limit(failures, draw, jitter):
    backoff = Backoff(first_s=0.5, limit_s=30.0, jitter=jitter)

    assert 0 <= backoff.delay_s(failures, draw=draw) <= 30.0


def test_jitter_shortens_by_its_share():
    assert Backoff(first_s=1.0, limit_s=8.0, jitter=0.5).delay_s(2, draw=0.5) == 3.0


@pytest.mark.parametrize("wrong", [{"first_s": 0}, {"first_s": 9, "limit_s": 3}, {"factor": 0.5}, {"jitter": 2}])
def test_what_is_no_backoff_is_refused(wrong):
    with pytest.raises(ValueError, match="back-off needs"):
        Backoff(**wrong)
