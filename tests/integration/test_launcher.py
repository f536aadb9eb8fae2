"""The launcher with real processes: what happens to the others when one of them dies, is deaf, or never comes up."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from integration.launching import is_alive, launching, wait_until

from tetrad_cli.launch.control import ControlError
from tetrad_cli.launch.logfiles import KEPT_LOGS
from tetrad_cli.launch.probe import get
from tetrad_cli.launch.runtime_dir import path_for
from tetrad_runtime.exits import ExitCode

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def a_learner(run_dir: Path) -> dict[str, object]:
    exit_file = ["--exit-file", str(run_dir / "exit")]
    return {"name": "learner", "on_exit": "ends_run", "max_replicas": 1, "arguments": exit_file}


def targets(run_dir: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run_dir / "targets.json").read_text())
    return found


def end_learner(run_dir: Path, code: int) -> None:
    new = run_dir / "exit.new"
    new.write_text(str(code))
    new.rename(run_dir / "exit")


def test_roles_start_stage_by_stage_and_stop_in_reverse(run_dir):
    roles = [a_learner(run_dir), {"name": "reward", "stage": 1}, {"name": "rollout", "stage": 2, "replicas": 2}]
    with launching(run_dir, *roles) as launcher:
        launcher.wait_until_up()
        launcher.process.terminate()
        assert launcher.wait() == 143

        events = [(word, name.split("-")[0]) for word, name, _ in launcher.diary("start", "serve", "stop")]
    started = [name for word, name in events if word == "start"]
    assert started == ["learner", "reward", "rollout", "rollout"]
    assert events.index(("serve", "learner")) < events.index(("start", "reward"))
    assert events.index(("serve", "reward")) < events.index(("start", "rollout"))
    assert [name for word, name in events if word == "stop"] == ["rollout", "rollout", "reward", "learner"]


@pytest.mark.parametrize("code", [0, 3, int(ExitCode.DATA)])
def test_the_exit_code_of_the_learner_ends_the_run_and_is_returned(run_dir, code):
    with launching(run_dir, a_learner(run_dir), {"name": "rollout", "stage": 1}) as launcher:
        launcher.wait_until_up()
        end_learner(run_dir, code)

        assert launcher.wait() == code
        assert not any(is_alive(pid) for pid in launcher.all_pids())


def test_a_failed_learner_s_last_lines_are_shown(run_dir):
    with launching(run_dir, a_learner(run_dir)) as launcher:
        launcher.wait_until_up()
        end_learner(run_dir, 78)
        launcher.wait()

        assert "learner: exit code 78 (the configuration)" in launcher.said()
        assert "learner | hello from learner" in launcher.said()


def test_a_killed_learner_comes_back_and_the_run_goes_on(run_dir):
    with launching(run_dir, a_learner(run_dir), {"name": "rollout", "stage": 1}) as launcher:
        launcher.wait_until_up()
        before = launcher.pids()
        os.kill(before["learner"], signal.SIGKILL)

        wait_until(lambda: launcher.row("learner").restarts == 1, "the learner is begun again")
        wait_until(lambda: launcher.row("learner").state == "up", "the learner is back")
        assert launcher.pids()["rollout-0"] == before["rollout-0"]
        assert launcher.row("learner").last_exit.startswith("killed by SIGKILL")


def test_scaling_keeps_the_others_and_retires_the_highest_index(run_dir):
    rollout = {"name": "rollout", "stage": 1}
    with launching(run_dir, a_learner(run_dir), rollout) as launcher:
        launcher.wait_until_up()
        before = launcher.pids()
        launcher.ask("scale", replicas={"rollout": 3})
        three = launcher.pids()
        launcher.ask("scale", replicas={"rollout": 2})
        two = launcher.pids()

        assert set(three) == {"learner", "rollout-0", "rollout-1", "rollout-2"}
        assert before.items() <= three.items()
        assert two == {name: pid for name, pid in three.items() if name != "rollout-2"}
        assert [name for _, name, _ in launcher.diary("stop")] == ["rollout-2"]


def test_the_scrape_targets_follow_scaling(run_dir):
    with launching(run_dir, a_learner(run_dir), {"name": "rollout", "stage": 1}) as launcher:
        launcher.wait_until_up()
        launcher.ask("scale", replicas={"rollout": 2})

        text = (run_dir / "targets.json").read_text()
        assert f"127.0.0.1:{launcher.row('rollout-1').port}" in text
        assert '"replica": "rollout-1"' in text


@pytest.mark.parametrize(
    ("replicas", "message"),
    [
        ({"rollout": 0}, "rollout=0: 1 to 8 are possible"),
        ({"rollout": 9}, "rollout=9: 1 to 8 are possible"),
        ({"learner": 2}, "learner=2: there is always exactly one"),
        ({"teacher": 1}, "there is no role 'teacher'; roles are learner, rollout"),
    ],
)
def test_an_impossible_scale_is_refused_with_its_limits(run_dir, replicas, message):
    with launching(run_dir, a_learner(run_dir), {"name": "rollout", "stage": 1}) as launcher:
        launcher.wait_until_up()

        with pytest.raises(ControlError, match=message):
            launcher.ask("scale", replicas=replicas)


@pytest.mark.parametrize(
    ("max_replicas", "message"),
    [
        (2, "rollout=3: 3 GPUs are visible: 1 to 2 are possible"),
        (1, "rollout=3: 3 GPUs are visible: no more than 1 is"),
    ],
)
def test_a_replica_without_a_free_gpu_is_refused_with_the_number_of_gpus(run_dir, max_replicas, message):
    role = {"name": "rollout", "stage": 1, "max_replicas": max_replicas, "why_no_more": "3 GPUs are visible"}
    with launching(run_dir, a_learner(run_dir), role) as launcher:
        launcher.wait_until_up()

        with pytest.raises(ControlError, match=message):
            launcher.ask("scale", replicas={"rollout": 3})


def test_after_kill_9_of_one_only_that_one_comes_back(run_dir):
    with launching(run_dir, a_learner(run_dir), {"name": "rollout", "stage": 1, "replicas": 3}) as launcher:
        launcher.wait_until_up()
        before = launcher.pids()
        os.kill(before["rollout-1"], signal.SIGKILL)
        wait_until(lambda: launcher.row("rollout-1").pid not in (None, before["rollout-1"]), "a new rollout-1")

        after = launcher.pids()
        assert {name for name in before if before[name] != after[name]} == {"rollout-1"}
        assert launcher.row("rollout-1").restarts == 1
        assert launcher.ask("status").wanted == {"learner": 1, "rollout": 3}


def test_an_optional_role_may_fail_for_ever_and_the_run_goes_on(run_dir):
    crasher = {
        "name": "prometheus",
        "stage": -1,
        "max_replicas": 1,
        "is_optional": True,
        "is_scraped": False,
        "arguments": ["--crash", "1"],
        "restarts": {"max_crashes": 2},
    }
    with launching(run_dir, a_learner(run_dir), crasher) as launcher:
        launcher.wait_until_up()
        wait_until(lambda: "prometheus is given up: 2 crashes" in launcher.said(), "prometheus is given up")

        assert launcher.row("prometheus").state == "given up"
        assert launcher.row("learner").state == "up"
        launcher.ask("scale", replicas={"prometheus": 0})
        assert set(launcher.pids()) == {"learner"}
        end_learner(run_dir, 0)
        assert launcher.wait() == 0


def test_the_launcher_is_a_target_that_says_how_many_there_are_and_should_be(run_dir):
    with launching(run_dir, a_learner(run_dir), {"name": "rollout", "stage": 1, "replicas": 2}) as launcher:
        launcher.wait_until_up()
        (target,) = [one for one in targets(run_dir) if one["labels"]["role"] == "launcher"]

        page = asyncio.run(get(int(target["targets"][0].rpartition(":")[2]), "/metrics"))

        assert page is not None
        assert b'tetrad_supervisor_wanted_instances{role="rollout"} 2.0' in page.body
        assert b'tetrad_supervisor_instances{role="rollout",state="up"} 2.0' in page.body
        assert b"tetrad_service_ready 1.0" in page.body


def test_logs_that_outgrow_their_limit_are_rotated_under_the_hands_of_their_writers(run_dir, monkeypatch):
    monkeypatch.setenv("FAKE_ROTATION", json.dumps({"max_bytes": 10_000, "period_s": 0.05}))
    bursts = KEPT_LOGS + 2
    talkers = {"name": "rollout", "stage": 1, "replicas": 2, "arguments": ["--bursts", str(bursts)]}
    with launching(run_dir, a_learner(run_dir), talkers) as launcher:
        wait_until(
            lambda: len(launcher.diary("said")) == 2, "both have seen their logs cut as often as they filled them"
        )

        for name in ("rollout-0", "rollout-1"):
            for age in range(1, KEPT_LOGS + 1):
                part = (run_dir / "logs" / f"{name}.log.{age}").read_text()
                lines = [line for line in part.splitlines() if line.startswith("burst ")]
                assert lines == [f"burst {bursts - age} line {line} of {name}" for line in range(500)]
            assert launcher.log(name) == "said all\n"
        files = {path.name for path in (run_dir / "logs").iterdir()}
        parts = {f"{name}.log.{age}" for name in ("rollout-0", "rollout-1") for age in range(1, KEPT_LOGS + 1)}
        assert files == parts | {"learner.log", "rollout-0.log", "rollout-1.log"}


def test_a_crash_loop_backs_off_and_gives_up_with_the_last_lines(run_dir):
    crasher = {"name": "rollout", "stage": 1, "arguments": ["--crash", "71"], "restarts": {"max_crashes": 4}}
    with launching(run_dir, a_learner(run_dir), crasher) as launcher:
        assert launcher.wait() == ExitCode.ENGINE

        assert len(launcher.diary("start")) == 1 + 4
        delays = [line for line in launcher.said().splitlines() if "instance_restarts" in line]
        assert [f"delay_s={delay}" in line for delay, line in zip([0.1, 0.2, 0.4], delays, strict=True)] == [True] * 3
        assert (
            "rollout-0 is given up: 4 crashes within 300 s, last: exit code 71 (the inference engine)"
            in launcher.said()
        )
        assert "rollout-0 | boom: the engine is on fire" in launcher.said()


def test_a_wrong_configuration_is_not_tried_again(run_dir):
    with launching(
        run_dir, a_learner(run_dir), {"name": "reward", "stage": 1, "arguments": ["--crash", "78"]}
    ) as launcher:
        assert launcher.wait() == ExitCode.CONFIG

        assert len([line for line in launcher.diary("start") if line[1] == "reward-0"]) == 1


def test_one_replica_given_up_leaves_the_others_at_work(run_dir):
    exit_file = run_dir / "rollout-exit"
    rollout = {"name": "rollout", "stage": 1, "replicas": 2, "restarts": {"max_crashes": 1}}
    with launching(run_dir, a_learner(run_dir), rollout) as launcher:
        launcher.wait_until_up()
        os.kill(launcher.pids()["rollout-1"], signal.SIGKILL)

        wait_until(lambda: launcher.row("rollout-1").state == "given up", "rollout-1 is given up")
        assert launcher.row("rollout-0").state == "up"
        assert not exit_file.exists()


def test_a_role_that_is_never_healthy_fails_the_start_with_its_log(run_dir):
    late = {"name": "reward", "stage": 1, "arguments": ["--unhealthy"], "start_deadline_s": 1.0}
    with launching(run_dir, a_learner(run_dir), late, {"name": "rollout", "stage": 2}) as launcher:
        assert launcher.wait() == ExitCode.PEER_LOST

        assert "reward-0 was not healthy within 1 s" in launcher.said()
        assert "reward-0 | hello from reward-0" in launcher.said()
        assert "rollout-0" not in [name for _, name, _ in launcher.diary("start")]
        assert not any(is_alive(pid) for pid in launcher.all_pids())


def test_a_learner_that_never_begins_fails_the_start(run_dir):
    learner = a_learner(run_dir) | {"settled_path": "/readyz", "settle_deadline_s": 1.0}
    learner["arguments"] = ["--unready"]
    with launching(run_dir, learner) as launcher:
        assert launcher.wait() == ExitCode.PEER_LOST

        assert "learner was not ready within 1 s" in launcher.said()


def test_a_program_that_is_not_there_is_a_fault_of_the_machine(run_dir, monkeypatch):
    monkeypatch.setenv("FAKE_PYTHON", "/nonexistent/python")
    with launching(run_dir, a_learner(run_dir)) as launcher:
        assert launcher.wait() == ExitCode.ENVIRONMENT

        assert "cannot start /nonexistent/python" in launcher.said()


def test_a_grandchild_deaf_to_sigterm_is_gone_after_the_stop(run_dir):
    deaf = {"name": "rollout", "stage": 1, "arguments": ["--deaf-grandchild"]}
    with launching(run_dir, a_learner(run_dir), deaf) as launcher:
        launcher.wait_until_up()
        launcher.ask("down")
        assert launcher.wait() == 0

        assert len(launcher.diary("grandchild")) == 1
        assert not any(is_alive(pid) for pid in launcher.all_pids())


def test_the_child_of_a_killed_leader_is_gone_before_the_leader_is_back(run_dir):
    deaf = {"name": "rollout", "stage": 1, "arguments": ["--deaf-grandchild"]}
    with launching(run_dir, a_learner(run_dir), deaf) as launcher:
        launcher.wait_until_up()
        orphan = int(launcher.diary("grandchild")[0][1])
        os.kill(launcher.pids()["rollout-0"], signal.SIGKILL)
        wait_until(lambda: len(launcher.diary("grandchild")) == 2, "the new leader has a child")

        assert not is_alive(orphan)


def test_a_process_deaf_to_sigterm_is_killed_after_its_grace(run_dir):
    deaf = {"name": "rollout", "stage": 1, "arguments": ["--deaf"], "grace_s": 0.5}
    with launching(run_dir, a_learner(run_dir), deaf) as launcher:
        launcher.wait_until_up()
        launcher.process.terminate()

        assert launcher.wait() == 143
        assert not any(is_alive(pid) for pid in launcher.all_pids())


def test_a_frozen_process_is_woken_to_drain(run_dir):
    with launching(run_dir, a_learner(run_dir), {"name": "rollout", "stage": 1}) as launcher:
        launcher.wait_until_up()
        os.kill(launcher.pids()["rollout-0"], signal.SIGSTOP)
        launcher.process.terminate()
        launcher.wait()

        assert [name for _, name, _ in launcher.diary("stop")] == ["rollout-0", "learner"]


def test_a_second_signal_stops_at_once(run_dir):
    deaf = {"name": "rollout", "stage": 1, "arguments": ["--deaf"], "grace_s": 600.0}
    with launching(run_dir, a_learner(run_dir), deaf) as launcher:
        launcher.wait_until_up()
        launcher.process.send_signal(signal.SIGINT)
        wait_until(lambda: "draining" in launcher.said(), "it drains")
        launcher.process.send_signal(signal.SIGINT)
        launcher.wait()

        assert not any(is_alive(pid) for pid in launcher.all_pids())


def test_two_launchers_in_one_run_directory_cannot_both_live(run_dir, tmp_path):
    with launching(run_dir, a_learner(run_dir)) as first:
        first.wait_until_up()
        with launching(run_dir, a_learner(run_dir), output=tmp_path / "second.out") as second:
            assert second.wait() == ExitCode.BUSY

            assert f"in use by pid {first.process.pid}" in second.said()
        assert first.row("learner").state == "up"


def test_kill_9_of_the_launcher_leaves_nothing_even_deaf(run_dir):
    deaf = {"name": "rollout", "stage": 1, "arguments": ["--deaf-grandchild"]}
    stubborn = {"name": "reward", "stage": 1, "arguments": ["--deaf"]}
    with launching(run_dir, a_learner(run_dir), deaf, stubborn) as launcher:
        launcher.wait_until_up()
        launcher.process.kill()

        wait_until(lambda: not any(is_alive(pid) for pid in launcher.all_pids()), "all are gone")


def test_a_new_launcher_kills_what_an_old_one_left(run_dir, tmp_path):
    deaf = {"name": "rollout", "stage": 1, "arguments": ["--deaf"], "grace_s": 600.0}
    with launching(run_dir, a_learner(run_dir), deaf, output=tmp_path / "first.out") as first:
        first.wait_until_up()
        left = first.pids()["rollout-0"]
        first.process.kill()
        first.wait()
    with launching(run_dir, a_learner(run_dir)) as second:
        second.wait_until_up()

        wait_until(lambda: not is_alive(left), "the old rollout is gone")
        assert f"killed pid {left}" in second.said()


def test_a_run_directory_with_a_long_path_can_still_be_asked(tmp_path):
    run_dir = tmp_path / ("long-" * 20) / "run"
    with launching(run_dir, a_learner(run_dir)) as launcher:
        launcher.wait_until_up()

        assert launcher.row("learner").state == "up"
        assert (run_dir / "control.sock").is_symlink()


def test_nothing_is_left_of_the_runtime_directory(run_dir):
    with launching(run_dir, a_learner(run_dir)) as launcher:
        launcher.wait_until_up()
        assert path_for(run_dir, {}).exists()
        end_learner(run_dir, 0)
        launcher.wait()

    assert not (run_dir / "control.sock").exists()
    assert not path_for(run_dir, {}).exists()
