"""`tetrad train|up|status|scale|logs|down` as a user types them, with stand-ins for the four services."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from integration.launching import is_alive, wait_until

from tetrad_runtime.exits import ExitCode

pytestmark = pytest.mark.timeout(120)

STAND_INS = Path(__file__).with_name("stand_ins")
DEADLINE_S = 60


class Shell:
    """A user in an empty folder."""

    def __init__(self, folder):
        self.folder = folder
        self.env = {**os.environ, "PYTHONPATH": str(STAND_INS), "XDG_RUNTIME_DIR": "", "COLUMNS": "160"}

    def start(self, *words):
        command = [sys.executable, "-m", "tetrad_cli", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words):
        process = self.start(*words)
        out, err = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def rows(self):
        status = json.loads(self.run("status", "--json").stdout)
        return {row["instance"]["name"]: row for row in status["rows"]}


@pytest.fixture
def shell(tmp_path):
    shell = Shell(tmp_path)
    yield shell
    shell.run("down", "--deadline", "20")


def test_train_ends_with_the_learner_and_prints_steps_and_the_result(shell):
    shell.env["STAND_IN_STEPS"] = "100"

    done = shell.run("train", "+experiment=demo")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Step 1: train/mean_reward=0.01"
    assert lines[-1] == "demo: accuracy 0.28 → 0.91 · 100 steps · 3 s"
    assert "outputs/demo/logs" in done.stderr
    assert (shell.folder / "outputs/demo/config.yaml").read_text().count("max_steps: 120") == 1


def test_the_demo_begins_anew_each_time(shell):
    shell.env["STAND_IN_STEPS"] = "5"
    mine = shell.folder / "outputs/demo/notes.txt"

    shell.run("train", "+experiment=demo")
    mine.write_text("of the user")
    second = shell.run("train", "+experiment=demo")

    assert second.returncode == 0, second.stderr
    assert len((shell.folder / "outputs/demo/metrics.jsonl").read_text().splitlines()) == 5
    assert mine.exists()


def test_an_earlier_run_is_not_cleared_unless_asked(shell):
    shell.env["STAND_IN_STEPS"] = "5"
    words = ("train", "+experiment=demo", "trainer.overwrite=false")
    assert shell.run(*words).returncode == 0

    second = shell.run(*words)

    assert second.returncode == ExitCode.CONFIG
    assert "trainer.resume_mode=latest goes on with it" in second.stderr


def test_the_live_view_without_a_terminal_prints_every_tenth_step(shell):
    shell.env["STAND_IN_STEPS"] = "100"

    done = shell.run("train", "--live", "+experiment=demo")

    steps = [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("Step")]
    assert steps == [f"Step {step}" for step in range(10, 101, 10)]


def test_ctrl_c_drains_a_foreground_run(shell):
    process = shell.start("train", "+experiment=demo")
    assert process.stdout.readline().startswith("Step 1")
    pids = [row["instance"]["pid"] for row in shell.rows().values()]

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 130
    assert pids
    assert not any(is_alive(pid) for pid in pids if pid is not None)


def test_a_run_in_the_background_from_up_to_down(shell):
    up = shell.run("up", "--no-monitoring")
    assert up.returncode == 0, up.stderr
    assert up.stderr.count("logs in") == 1
    assert "logs in" in (shell.folder / "outputs/demo-endless/logs/launcher.log").read_text()

    rows = shell.rows()
    assert list(rows) == ["learner", "broadcaster", "reward-0", "rollout-0"]
    assert {row["ready"] for row in rows.values()} == {"yes"}
    assert rows["rollout-0"]["weight_version"] == 7
    assert "rollout-0" in shell.run("status").stdout

    scaled = shell.run("scale", "ROLLOUT=3")
    assert scaled.stdout == "rollout: 3 (rollout-0, rollout-1, rollout-2)\n"
    assert shell.rows()["rollout-0"]["instance"]["pid"] == rows["rollout-0"]["instance"]["pid"]
    assert shell.run("scale", "learner=2").returncode == 1

    logs = shell.run("logs", "-n", "50", "rollout", "launcher").stdout
    assert "rollout-2 | " in logs
    assert "learner   | " not in logs

    status = json.loads(shell.run("status", "--json").stdout)
    pids = [status["pid"], *(row["instance"]["pid"] for row in status["rows"])]
    down = shell.run("down")
    assert (down.returncode, down.stdout) == (0, "draining demo-endless\ndemo-endless is down\n")
    assert not any(is_alive(pid) for pid in pids)
    assert "stand_in_drained" in shell.run("logs", "rollout-0").stdout


def test_two_runs_in_one_run_directory_are_refused(shell):
    assert shell.run("up").returncode == 0
    before = (shell.folder / "outputs/demo-endless/config.yaml").stat().st_mtime_ns

    second = shell.run("up")

    assert second.returncode == ExitCode.BUSY
    assert "is in use by pid" in second.stderr
    assert (shell.folder / "outputs/demo-endless/config.yaml").stat().st_mtime_ns == before
    assert {row["ready"] for row in shell.rows().values()} == {"yes"}


def test_a_run_that_does_not_come_up_shows_why(shell):
    shell.env["STAND_IN_FAULT"] = "learner"

    up = shell.run("up")

    assert up.returncode == ExitCode.ENGINE
    assert "exit code 71 (the inference engine)" in up.stderr
    assert "the engine is on fire" in up.stderr
    assert shell.run("status").returncode == 1


def test_a_wrong_override_starts_nothing(shell):
    up = shell.run("up", "+experiment=demo", "trainer.epoch=3")

    assert up.returncode == ExitCode.CONFIG
    assert "did you mean trainer.epochs?" in up.stderr
    assert not (shell.folder / "outputs").exists()


def test_down_kills_a_frozen_launcher_and_all_its_processes(shell):
    assert shell.run("up").returncode == 0
    pids = [row["instance"]["pid"] for row in shell.rows().values()]
    launcher = json.loads(shell.run("status", "--json").stdout)["pid"]
    os.kill(launcher, signal.SIGSTOP)

    down = shell.run("down", "--deadline", "0.5")

    assert down.returncode == ExitCode.DRAIN_TIMEOUT
    wait_until(lambda: not any(is_alive(pid) for pid in [launcher, *pids]), "all are gone")


def test_down_without_a_run_is_no_error(shell):
    down = shell.run("down")

    assert down.returncode == 0
    assert "no run is up" in down.stdout
