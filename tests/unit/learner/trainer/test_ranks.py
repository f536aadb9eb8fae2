"""Joining says what is missing."""

from __future__ import annotations

import pytest

from tetrad_learner.trainer.ranks import check_launched, join


def test_a_device_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="device is 'tpu'; known are cpu, cuda"):
        join(device="tpu", timeout_s=1.0)


def test_without_torchrun_the_error_names_the_launcher() -> None:
    with pytest.raises(RuntimeError, match=r"MASTER_ADDR, MASTER_PORT not set; start .* torch\.distributed\.run"):
        check_launched({"RANK": "0", "WORLD_SIZE": "1"})


def test_a_lone_rank_agrees_with_itself(lone_rank: None) -> None:
    ranks = join(device="cpu", timeout_s=1.0)

    ranks.agree(b"0123456789abcdef", what="batch")

    assert (ranks.rank, ranks.world_size, ranks.is_first) == (0, 1, True)
