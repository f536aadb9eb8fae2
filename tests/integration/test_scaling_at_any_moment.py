"""`scale` while a run starts, works, drains a replica of the same name, and stops: done, or refused with the reason."""

import asyncio
import threading
from pathlib import Path

import pytest
from integration.launching import Launcher, launching, wait_until

from tetrad_cli.launch.control import ControlError, Request, ask

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


class Asking:
    """A request whose answer may take its time."""

    def __init__(self, launcher: Launcher, **replicas: int) -> None:
        self.answer: object = None
        self._request = Request(op="scale", replicas=replicas)
        self._run_dir = launcher.run_dir
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self.answer = asyncio.run(ask(self._run_dir, self._request, deadline_s=60.0))
        except ControlError as error:
            self.answer = error

    def wait(self) -> object:
        self._thread.join(60.0)
        return self.answer


def test_before_its_turn_a_role_is_noted_and_starts_with_the_new_number(run_dir):
    slow = {
        "name": "learner",
        "on_exit": "ends_run",
        "max_replicas": 1,
        "arguments": ["--healthy-file", f"{run_dir}/go"],
    }
    with launching(run_dir, slow, {"name": "rollout", "stage": 1}) as launcher:
        wait_until(lambda: launcher.diary("start"), "the learner has started")

        reply = launcher.ask("scale", replicas={"rollout": 3})
        none_yet = [one.name for one in reply.instances if one.role == "rollout"]
        (run_dir / "go").touch()
        launcher.wait_until_up()

        assert reply.note == "the run is still starting: 3 of rollout will start when their turn comes"
        assert none_yet == []
        assert sorted(launcher.pids()) == ["learner", "rollout-0", "rollout-1", "rollout-2"]


def test_a_later_number_wins_and_the_earlier_asker_is_told(run_dir):
    late = {"name": "rollout", "stage": 1, "arguments": ["--healthy-but-index", "1", f"{run_dir}/go"]}
    with launching(run_dir, {"name": "learner", "on_exit": "ends_run", "max_replicas": 1}, late) as launcher:
        launcher.wait_until_up()
        first = Asking(launcher, rollout=2)
        wait_until(lambda: "rollout-1" in launcher.pids(), "rollout-1 is there")

        second = Asking(launcher, rollout=1)

        assert str(first.wait()) == (
            "rollout-1 was asked to stop before it was healthy: rollout=1 was asked for meanwhile"
        )
        assert not isinstance(second.wait(), ControlError)
        assert sorted(launcher.pids()) == ["learner", "rollout-0"]


def test_a_replica_starts_once_its_namesake_is_gone(run_dir):
    slow = {"name": "rollout", "stage": 1, "replicas": 2, "arguments": ["--deaf"], "grace_s": 2.0}
    with launching(run_dir, {"name": "learner", "on_exit": "ends_run", "max_replicas": 1}, slow) as launcher:
        launcher.wait_until_up()
        old = launcher.pids()["rollout-1"]
        down = Asking(launcher, rollout=1)
        wait_until(lambda: launcher.row("rollout-1").state == "stopping", "rollout-1 drains")

        launcher.ask("scale", replicas={"rollout": 2})

        assert not isinstance(down.wait(), ControlError)
        assert launcher.pids()["rollout-1"] not in (None, old)
        started = [line for line in launcher.diary("start") if line[1] == "rollout-1"]
        assert len(started) == 2


def test_a_run_that_stops_says_so(run_dir):
    deaf = {"name": "rollout", "stage": 1, "arguments": ["--deaf"], "grace_s": 3.0}
    with launching(run_dir, {"name": "learner", "on_exit": "ends_run", "max_replicas": 1}, deaf) as launcher:
        launcher.wait_until_up()
        launcher.ask("down")

        with pytest.raises(ControlError, match=r"^the run is stopping$"):
            launcher.ask("scale", replicas={"rollout": 2})


def test_who_waits_for_a_replica_when_the_run_stops_is_told(run_dir):
    late = {"name": "rollout", "stage": 1, "arguments": ["--healthy-but-index", "1", f"{run_dir}/go"], "grace_s": 3.0}
    with launching(run_dir, {"name": "learner", "on_exit": "ends_run", "max_replicas": 1}, late) as launcher:
        launcher.wait_until_up()
        asked = Asking(launcher, rollout=2)
        wait_until(lambda: "rollout-1" in launcher.pids(), "rollout-1 is there")

        launcher.ask("down")

        assert str(asked.wait()) == "rollout-1 was asked to stop before it was healthy: the run is stopping"
        launcher.wait()


def test_an_ended_run_leaves_no_lock_and_says_how_it_ended(run_dir):
    with launching(run_dir, {"name": "learner", "on_exit": "ends_run", "max_replicas": 1}) as launcher:
        launcher.wait_until_up()
        (run_dir / "coordinator.lock").touch()
        launcher.ask("down")
        launcher.wait()

    assert [path.name for path in run_dir.iterdir() if path.suffix in (".lock", ".sock")] == []
    assert '"reason": "asked to stop"' in (run_dir / "ended.json").read_text()
