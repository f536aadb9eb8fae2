"""A whole run whose engine is given its weights in a process group, as if it were on another GPU."""

import pytest
from chaos.run_under_test import NUM_STEPS, MakeRun

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(600)]


def test_weights_by_collectives_end_at_the_same_weights_bit_for_bit(
    make_run: MakeRun, calm_weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TETRAD_WEIGHT_TRANSPORT", "nccl")
    run = make_run("generator.weight_sync_timeout=90").start()

    assert run.finish(timeout_s=500) == 0, run.last_words()
    run.check_fates()
    run.check_nothing_is_left()
    assert run.weights() == calm_weights
    tested = [line.split() for line in run.log("rollout-0").splitlines() if " link_tested " in line]
    assert any("way=socket" in words for words in tested)
    assert any("way=nccl" in words for words in tested)
    readings = [line.split() for line in run.log("broadcaster").splitlines() if " version_read " in line]
    assert len(readings) > NUM_STEPS
    assert all("transport=nccl" in words for words in readings)
