"""Durations that a peer would live by."""

import pytest

from tetrad_wire.durations import require_positive


def test_a_positive_duration_passes():
    require_positive(0.001, "heartbeat_s")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_another_is_refused_by_name(seconds):
    with pytest.raises(ValueError, match=r"heartbeat_s is .*; it must be finite and above 0"):
        require_positive(seconds, "heartbeat_s")
