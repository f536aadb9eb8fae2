"""Ranks on two hosts test their network, versions and folders before any model is loaded, and name what is wrong."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from multinode.two_hosts import NetworkHost

PROGRAM = Path(__file__).with_name("self_test_program.py")
PORT = "29577"

pytestmark = pytest.mark.timeout(240)


def a_rank(
    host: NetworkHost, rank: int, head: NetworkHost, *words: Path, interface: str | None = None
) -> "subprocess.Popen[str]":
    env = {
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": head.address,
        "MASTER_PORT": PORT,
        "GLOO_SOCKET_IFNAME": interface or host.interface,
        "OMP_NUM_THREADS": "1",
    }
    command = host.command(sys.executable, str(PROGRAM), *map(str, words))
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(ranks: Sequence["subprocess.Popen[str]"]) -> tuple[list[int | None], list[str]]:
    said = [rank.communicate(timeout=200)[0] for rank in ranks]
    return [rank.returncode for rank in ranks], said


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("trainer: {}\n")
    return path


def test_ranks_of_two_hosts_that_fit_join(hosts, run_file, tmp_path):
    head, other = hosts

    codes, said = ended([a_rank(host, rank, head, run_file, tmp_path) for rank, host in enumerate((head, other))])

    assert codes == [0, 0], said
    assert all("joined 2" in one for one in said)
    for way in ("tcp", "cpu"):
        assert f"slowest_{way}_pair" in said[0]
    assert f"rank 0 ({os.uname().nodename}, {head.address} on {head.interface}) and rank 1" in said[0]
    assert list(tmp_path.glob(".self-test-*")) == []


def test_what_does_not_fit_is_named_on_every_rank_with_pair_address_interface_and_fix(hosts, run_file, tmp_path):
    head, other = hosts
    old_file, elsewhere = tmp_path / "old.yaml", tmp_path / "elsewhere"
    old_file.write_text("trainer: {seed: 1}\n")

    ranks = [a_rank(head, 0, head, run_file, tmp_path), a_rank(other, 1, head, old_file, elsewhere, interface="lo")]
    codes, said = ended(ranks)

    assert codes == [72, 72], said
    for text in said:
        assert f"{head.address} on {head.interface}) cannot reach rank 1" in text
        assert "127.0.0.1 on lo" in text
        assert "GLOO_SOCKET_IFNAME" in text
        assert "config is" in text
        assert "start their agents again" in text
        assert f"trainer.ckpt_path={elsewhere} is not one folder" in text
