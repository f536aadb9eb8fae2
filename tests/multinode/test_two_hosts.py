"""One run over two hosts: ranks on both, engines on the second, weights over the network once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.run_under_test import NUM_STEPS, RunUnderTest

from multinode.two_hosts import NetworkHost

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(1200)]

PORT = 7411


class RunOnTwoHosts(RunUnderTest):
    """The head on one host, an agent on the other."""

    def __init__(self, folder: Path, hosts: tuple[NetworkHost, NetworkHost], *overrides: str) -> None:
        checkpoints = f"trainer.ckpt_path={folder / 'outputs/chaos/checkpoints'}"
        super().__init__(folder, "trainer.placement.policy_num_nodes=2", checkpoints, *overrides)
        self._head, self._other = hosts
        self._endpoint = f"tcp://{self._head.address}:{PORT}"
        self._agent: subprocess.Popen[bytes] | None = None
        self.agent_dir = folder / "agent"
        self.keys, self.agent_keys = folder / "keys", folder / "shares" / "agent"

    def start(self) -> "RunOnTwoHosts":
        self.folder.mkdir(parents=True, exist_ok=True)
        for words in (["init"], ["export", "agent", f"--into={self.agent_keys.parent}"]):
            command = [sys.executable, "-m", "tetrad_cli", "keys", *words, f"--folder={self.keys}"]
            subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL)
        training = ("tetrad_cli", "train", f"--listen={self._endpoint}", *self.overrides)
        self._process = self._start(self._head, "train.log", *training, keys=self.keys)
        self.start_agent()
        return self

    def start_agent(self) -> None:
        command = ("tetrad_cli", "agent", "--join", self._endpoint, "--rollouts=1", f"--run-dir={self.agent_dir}")
        self._agent = self._start(self._other, "agent.log", *command, keys=self.agent_keys)

    def kill_agent(self) -> None:
        """As a host dies: no process of it lives on."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait(10)
        for pid in self._processes_of(self.agent_dir):
            os.kill(pid, signal.SIGKILL)

    def finish_agent(self) -> int:
        assert self._agent is not None
        return self._agent.wait(60)

    def stop(self) -> None:
        super().stop()
        self.kill_agent()

    def last_words(self) -> str:
        logs = sorted(self.agent_dir.glob("logs/*.log"))
        ends = [f"== agent {log.name}\n" + "\n".join(log.read_text().splitlines()[-25:]) for log in logs]
        return "\n".join([super().last_words(), *ends])

    def logs(self) -> list[Path]:
        """Of both hosts."""
        return [*self.run_dir.glob("logs/*.log"), *self.agent_dir.glob("logs/*.log")]

    def agent_log(self, name: str) -> str:
        return (self.agent_dir / "logs" / f"{name}.log").read_text()

    def _start(self, host: NetworkHost, log: str, *words: str, keys: Path) -> "subprocess.Popen[bytes]":
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                host.command(sys.executable, "-m", *words),
                cwd=self.folder,
                env={**os.environ, "TETRAD_KEYS": str(keys)},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def _processes_of(self, run_dir: Path) -> list[int]:
        mark = f"TETRAD_RUN_DIR={run_dir}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


@pytest.fixture
def run(hosts, tmp_path: Path) -> Iterator[RunOnTwoHosts]:
    run = RunOnTwoHosts(tmp_path / "two", hosts)
    yield run
    run.stop()


@pytest.fixture(scope="module")
def weights_of_one_host(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Of the same run with both ranks on one host."""
    run = RunUnderTest(tmp_path_factory.mktemp("one"), "trainer.placement.policy_num_gpus_per_node=2")
    try:
        assert run.start().finish(timeout_s=600) == 0, run.last_words()
        return run.weights()
    finally:
        run.stop()


def test_two_hosts_end_at_the_weights_of_two_ranks_on_one_although_one_host_dies_and_returns(
    run: RunOnTwoHosts, weights_of_one_host: bytes
) -> None:
    run.start()
    run.until(lambda: run.executed() >= 1, "an executed step", timeout_s=400)
    run.kill_agent()
    run.until(lambda: "ranks_lost" in run.log("learner"), "the loss of a host noticed", timeout_s=60)
    run.start_agent()

    assert run.finish(timeout_s=600) == 0, run.last_words()
    assert run.finish_agent() == 0, run.last_words()
    run.check_fates()
    assert run.weights() == weights_of_one_host
    # Before any model was loaded, by each set of ranks.
    assert run.log("learner").count("self_test_passed") >= 2
    # And by each engine: to the relay of its host, and on to the broadcaster, wherever its port is.
    tested = [line for line in run.agent_log("rollout-0").splitlines() if "link_tested" in line]
    assert any("relay" in line for line in tested)
    assert any("the broadcaster at tcp://" in line for line in tested)
    # Its engine is served from the memory of its own host, which each version has reached once.
    relayed = [line for line in run.agent_log("relay").splitlines() if " version_relayed " in line]
    versions = [word for line in relayed for word in line.split() if word.startswith("version=")]
    # The one that was current when the host died was fetched again by its next life.
    assert len(versions) <= len(set(versions)) + 1
    assert len(versions) >= NUM_STEPS - 1
    assert " transport=shared_memory " in run.agent_log("relay")
    # All of it under keys, of which the other host has no more than its own, and nobody was turned away.
    assert not (run.agent_keys / "private" / "coordinator.key").exists()
    assert "peer_refused" not in "".join(path.read_text() for path in run.logs())
    run.check_nothing_is_left()
