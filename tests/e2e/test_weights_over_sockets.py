"""A whole run whose engine is given its weights over its connection, as if it were on another host."""

import pytest
from chaos.run_under_test import NUM_STEPS, MakeRun

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_weights_over_sockets_end_at_the_same_weights_bit_for_bit(
    make_run: MakeRun, calm_weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TETRAD_WEIGHT_TRANSPORT", "socket")
    run = make_run().start()

    assert run.finish() == 0, run.last_words()
    run.check_fates()
    run.check_nothing_is_left()
    assert run.weights() == calm_weights
    readings = [line for line in run.log("broadcaster").splitlines() if " version_read " in line]
    assert len(readings) > NUM_STEPS
    assert all(" transport=socket " in line for line in readings)
