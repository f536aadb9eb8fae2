"""Durations that a peer would live by."""

import pytest

from tetrad_wire.durations import require_not_negative, require_positive


def test_a_positive_duration_passes():
    require_positive(0.001, "heartbeat_s")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_another_is_refused_by_name(seconds):
    with pytest.raises(ValueError, match=r"heartbeat_s is .*; it must be finite and above 0"):
        require_positive(seconds, "heartbeat_s")


@pytest.mark.parametrize("seconds", [0.0, 3.5])
def test_an_age_may_be_nothing(seconds):
    require_not_negative(seconds, "seconds")


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_an_age_below_zero_is_refused_by_name(seconds):
    with pytest.raises(ValueError, match=r"seconds is .*; it must be finite and not negative"):
        require_not_negative(seconds, "seconds")
