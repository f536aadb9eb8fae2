"""`tetrad up`, `status`, `watch`, `why`, `scale`, `logs` and `down` on the real services, as an operator uses them.

One run for all of it: what it waits for is brought about by a grader that holds its grades while a file is there, by
rewards that are all equal while another is, by processes that are frozen, and by a connection that trickles.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import pytest
from chaos.run_under_test import MakeRun, RunUnderTest
from integration.slow_socket import slowed

from tetrad_cli.launch.runtime_dir import path_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

# Batches do not overlap here, and a step may end during a look.
MAX_LAG_STEPS: Final = 1

REWARD = '''
import random
import time
from pathlib import Path

FOLDER = Path({folder!r})


def grade(response: str, ground_truth: str | None) -> float:
    """Waits while `hold` is there; pays everybody the same while `flat` is."""
    while (FOLDER / "hold").exists():
        time.sleep(0.02)
    return 1.0 if (FOLDER / "flat").exists() else random.random()
'''


# What a rollout asks the broadcaster for before it trusts the link to it, and a version of the weights.
PROVED_BYTES = (4 << 20) + 1_714_688


class Operator:
    """Somebody in the folder of a run, with the command at hand."""

    def __init__(self, run: RunUnderTest) -> None:
        self.run = run
        self.folder = run.folder
        (self.folder / "reward.py").write_text(REWARD.format(folder=str(self.folder)))

    def tetrad(self, *words: str, code: int = 0) -> str:
        """What a command prints; it must end with this code."""
        done = subprocess.run(
            [sys.executable, "-m", "tetrad_cli", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr + self.run.last_words()
        return done.stdout + (done.stderr if code else "")

    def why(self) -> dict[str, Any]:
        """What the learner waits for."""
        page = self.page("/why")
        return dict(json.loads(page))

    def page(self, path: str) -> str:
        """A page of the learner."""
        port = self.run.instance("learner").port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            return str(reply.read().decode())

    def until(self, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Ask why until the answer is so; fail with the last answer."""
        deadline = time.monotonic() + 150
        while not condition(answer := self.why()):
            assert time.monotonic() < deadline, f"no {what}: {answer}\n{self.run.last_words()}"
            time.sleep(0.05)
        return answer

    def until_logged(self, *words: str) -> None:
        """Wait for a line of the learner with all these words."""
        deadline = time.monotonic() + 60
        while not any(all(word in line for word in words) for line in self.run.log("learner").splitlines()):
            assert time.monotonic() < deadline, f"no line with {words}:\n{self.run.last_words()}"
            time.sleep(0.1)

    def until_trained(self) -> None:
        """Wait for another step."""
        executed = self.why()["steps_executed"]
        self.until(lambda answer: answer["steps_executed"] > executed, "step")


def _leases(run: RunUnderTest, replica: str) -> int:
    return run.leases_by_replica().get(replica, 0)


def test_an_operators_day(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    # As engines on another host have their weights: over a connection, which can be slow.
    monkeypatch.setenv("TETRAD_WEIGHT_TRANSPORT", "socket")
    run = make_run(
        "trainer.max_steps=5000",
        "trainer.ckpt_interval=-1",
        "generator.deterministic=false",
        "generator.lease_progress_timeout=60",
        "generator.weight_sync_timeout=60",
        "reward.grade_timeout=60",
        "trainer.algorithm.dynamic_sampling.type=filter",
        "trainer.algorithm.dynamic_sampling.max_sample_batches=-1",
    )
    operator = Operator(run)
    (run.folder / "empty.jsonl").touch()
    operator.tetrad(
        "up",
        *run.overrides,
        f"reward.implementation={run.folder}/reward.py:grade",
        f"data.train_data=['${{tetrad.asset:demo/train.jsonl}}',{run.folder}/empty.jsonl]",
    )

    _see(operator)
    _hear_of_an_empty_file(operator)
    _scale(operator)
    _wait_for_grades_and_a_frozen_engine(operator)
    _wait_for_rows(operator)
    _wait_for_a_slow_transfer(operator)
    _wait_for_a_frozen_broadcaster(operator)
    _take_down(operator)


def _see(operator: Operator) -> None:
    """Every figure of `tetrad status`, for programs and on a terminal of 80 columns."""
    run = operator.run
    run.until(lambda: run.executed() > 0, "a step")
    pid = run.signal("reward-0", signal.SIGKILL)
    run.until(lambda: run.instance("reward-0").pid not in (None, pid), "another reward")
    status = _until_seen(operator, _is_at_work)

    rows = _rows(status)
    roles = {name: row["instance"]["role"] for name, row in rows.items()}
    services = ("learner", "broadcaster", "reward-0", "rollout-0")
    assert {name: roles[name] for name in services} == dict(
        zip(services, ("learner", "broadcaster", "reward", "rollout"), strict=True)
    )
    assert {name: rows[name]["release"] for name in services} == dict.fromkeys(services, version("tetrad-cli"))
    assert {name: rows[name]["instance"]["port"] for name in services} == {
        name: run.instance(name).port for name in services
    }
    restarts = {name: rows[name]["instance"]["restarts"] for name in services}
    assert (restarts["reward-0"], restarts["learner"]) == (1, 0), restarts
    assert {role: status["replicas"][role] for role in ("reward", "rollout")} == {
        "reward": {"wanted": 1, "up": 1},
        "rollout": {"wanted": 1, "up": 1},
    }
    rollout, learner = rows["rollout-0"], rows["learner"]
    newest = rows["broadcaster"]["weight_version"]
    assert 1 <= rollout["weight_version"] <= learner["weight_version"] == pytest.approx(newest, abs=1)
    # One look asks several processes: between two answers a step may end.
    assert 0 <= rollout["lag_steps"] <= MAX_LAG_STEPS
    assert rows["reward-0"]["weight_version"] is None
    assert learner["waits_for"]

    text = operator.tetrad("status")
    for words in (*services, "rollout 1/1", str(rollout["instance"]["port"]), version("tetrad-cli"), "tokens/s"):
        assert words in text


def _rows(status: dict[str, Any]) -> dict[str, Any]:
    return {row["instance"]["name"]: row for row in status["rows"]}


def _is_at_work(status: dict[str, Any]) -> bool:
    rows = _rows(status)
    is_back = rows["reward-0"]["ready"] == "yes" and status["replicas"]["reward"]["up"] == 1
    return bool(is_back and rows["rollout-0"]["num_leases"] and rows["rollout-0"]["tokens_per_s"])


def _until_seen(operator: Operator, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look until the status is so, and return it."""
    deadline = time.monotonic() + 90
    while not condition(status := json.loads(operator.tetrad("status", "--json"))):
        assert time.monotonic() < deadline, f"not so: {status}\n{operator.run.last_words()}"
    return status


def _hear_of_an_empty_file(operator: Operator) -> None:
    """The run goes on with the other one."""
    operator.until_logged("training_file_empty", "empty.jsonl")
    assert operator.why()["num_steps"] == 5000


def _scale(operator: Operator) -> None:
    status = json.loads(operator.tetrad("status", "--json"))
    assert {row["instance"]["name"]: row["ready"] for row in status["rows"]}["learner"] == "yes"
    assert operator.tetrad("scale", "rollout=2") == "rollout: 2 (rollout-0, rollout-1)\n"
    looked = json.loads(operator.tetrad("watch", "--json", "--count", "1"))
    assert [row["instance"]["name"] for row in looked["rows"]][-2:] == ["rollout-0", "rollout-1"]
    assert looked["waits"]["sentence"].startswith("The learner has waited")
    assert "rollout-1" in operator.tetrad("logs")
    run = operator.run
    run.until(lambda: _leases(run, "rollout-1") > 0, "a lease of the new replica")
    # Whoever gets a lease is certified: it has committed weights by then.
    assert "weights_committed" in run.log("rollout-1")
    before = _leases(run, "rollout-0"), _leases(run, "rollout-1")
    run.until(lambda: _leases(run, "rollout-0") > before[0], "work for the first replica")
    run.until(lambda: _leases(run, "rollout-1") > before[1], "more work for the second one beside it")
    operator.tetrad("scale", "rollout=1")
    alone = _leases(run, "rollout-0"), _leases(run, "rollout-1")
    run.until(lambda: _leases(run, "rollout-0") > alone[0], "work for the one that is left")
    assert _leases(run, "rollout-1") == alone[1]
    assert [one.name for one in operator.run.instances() if one.role == "rollout"] == ["rollout-0"]


def _wait_for_grades_and_a_frozen_engine(operator: Operator) -> None:
    (operator.folder / "hold").touch()
    graded = operator.until(lambda answer: answer["reason"] == "grades", "wait for grades")
    assert graded["on"] == "reward-0"
    assert "reward-0 has had one turn for" in graded["sentence"]
    assert "the oldest lease is draw" in operator.tetrad("why")

    operator.run.signal("rollout-0", signal.SIGSTOP)
    frozen = operator.until(lambda answer: answer["on"] == "rollout-0", "wait for the engine")
    assert frozen["reason"] == "generation"
    assert "rollout-0 has said nothing for" in frozen["sentence"]
    assert "stopped by a signal" in operator.tetrad("status")
    operator.run.signal("rollout-0", signal.SIGCONT)
    (operator.folder / "hold").unlink()
    operator.until_trained()


def _wait_for_rows(operator: Operator) -> None:
    (operator.folder / "flat").touch()
    rows = operator.until(lambda answer: answer["reason"] == "rows", "wait for rows")
    assert "groups were drawn for it and dropped, the last as filtered: all rewards are equal" in rows["sentence"]
    (operator.folder / "flat").unlink()
    operator.until_trained()


def _wait_for_a_slow_transfer(operator: Operator) -> None:
    """Everybody is alive and says so; only the bytes take their time."""
    with slowed(path_for(operator.run.run_dir, os.environ) / "broadcaster") as connection:
        # Whoever starts anew connects anew, and proves its link before it is slow.
        operator.run.signal("rollout-0", signal.SIGKILL)
        operator.until(lambda _answer: connection.num_bytes > PROVED_BYTES, "rollout behind the slow connection")
        operator.until_trained()
        connection.pause_s = 0.02
        slow = operator.until(lambda answer: "has been staging for" in answer["sentence"], "slow transfer")
        assert (slow["reason"], slow["on"]) == ("weights", "rollout-0")
        assert "a rollout to run the newest weights (the only one does not): rollout-0 has been" in slow["sentence"]
        passed = connection.num_bytes
        longer = operator.until(lambda answer: _staging_s(answer) >= _staging_s(slow) + 2, "longer transfer")
        assert (longer["rollouts"]["rollout-0"]["phase"], longer["on"]) == ("staging", "rollout-0")
        assert connection.num_bytes > passed
        assert "rollout-0 has been staging for" in operator.tetrad("why")
        connection.pause_s = 0.0
        operator.until_trained()


def _staging_s(answer: dict[str, Any]) -> float:
    """For how long a rollout has been staging, by the sentence; 0 where none is named."""
    found = re.search(r"has been staging for ([\d.]+) s", answer["sentence"])
    return float(found[1]) if found else 0.0


def _wait_for_a_frozen_broadcaster(operator: Operator) -> None:
    """Also long enough to be unusual."""
    operator.run.signal("broadcaster", signal.SIGSTOP)
    slow = operator.until(lambda answer: answer["on"] == "broadcaster", "wait for the broadcaster")
    assert slow["reason"] in ("publish", "weights")
    operator.until_logged("long_wait", f"reason={slow['reason']}")
    assert f'tetrad_learner_long_waits_total{{reason="{slow["reason"]}"}} 1.0' in operator.page("/metrics")
    assert "broadcaster" in operator.tetrad("why")
    operator.run.signal("broadcaster", signal.SIGCONT)
    operator.until_trained()


def _take_down(operator: Operator) -> None:
    run = operator.run
    sockets = path_for(run.run_dir, os.environ)
    assert sockets.exists()

    operator.tetrad("down")

    assert run.processes() == []
    run.check_nothing_is_left()
    assert not sockets.exists()
    assert [path.name for path in run.run_dir.iterdir() if path.suffix in (".lock", ".sock")] == []
    assert "the run chaos is over since" in operator.tetrad("why")
    assert "the run chaos is over since" in operator.tetrad("status", code=1)
