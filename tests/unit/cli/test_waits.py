"""What the learner says of its waits, and what is said where it cannot be asked."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time

import pytest

from tetrad_cli.absent import described
from tetrad_cli.launch.control import InstanceStatus
from tetrad_cli.launch.ending import Ending, forget_end, write_end
from tetrad_cli.launch.ports import free_port
from tetrad_cli.live.table import draw
from tetrad_cli.observed import Observed, Replicas, Row, newest_tokens_per_s
from tetrad_cli.waits import parsed, waits_of
from tetrad_telemetry.exporter import Health, Pages, serve

FIELDS = {
    "sentence": "The learner has waited 3.0 s for the journal of step 2 to be on disk.",
    "reason": "journal",
    "on": "",
    "since_s": 3,
    "state": "running",
    "steps_executed": 1,
    "num_steps": 9,
    "rollouts": {"rollout-0": {"lag_steps": 1, "num_leases": 2, "phase": None}},
}


def an_instance(**changes):
    fields = {
        "name": "learner",
        "role": "learner",
        "index": 0,
        "pid": os.getpid(),
        "port": 1,
        "state": "up",
        "restarts": 0,
        "uptime_s": 65.0,
        "last_exit": None,
    }
    return InstanceStatus(**fields | changes)


def test_the_page_is_read_by_name():
    waits = parsed(FIELDS)

    assert (waits.reason, waits.since_s, waits.num_steps) == ("journal", 3.0, 9)
    assert (waits.rollouts["rollout-0"].lag_steps, waits.rollouts["rollout-0"].phase) == (1, "")


def test_a_page_of_another_release_is_no_error():
    assert parsed({"sentence": "x", "rollouts": [1], "steps_executed": True}).steps_executed is None


async def test_the_learner_is_asked_on_its_port():
    ready = Health(ok=True, detail="")
    pages = Pages(
        metrics=lambda: b"",
        health=lambda: ready,
        readiness=lambda: ready,
        others={"/why": lambda: b'{"sentence": "s"}'},
    )
    async with serve(pages) as port:
        assert (await waits_of(an_instance(port=port))).sentence == "s"


async def test_a_learner_without_a_process_is_said_so():
    waits = await waits_of(an_instance(pid=None, state="backoff", last_exit="killed by SIGKILL after 3 s"))

    assert waits.sentence == "The learner has no process now (backoff; its last life: killed by SIGKILL after 3 s)."


def test_a_frozen_learner_is_said_so():
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    try:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        waits = asyncio.run(waits_of(an_instance(pid=process.pid, port=free_port(()))))
    finally:
        process.kill()
        process.wait()

    assert waits.sentence == f"The learner is stopped by a signal; `kill -CONT {process.pid}` lets it go on."
    assert waits.on == "learner"


async def test_a_learner_that_starts_or_hangs_is_said_so():
    starting = await waits_of(an_instance(state="starting", uptime_s=2.0, port=free_port(())))
    hanging = await waits_of(an_instance(port=free_port(())))

    assert starting.sentence == "The learner has been starting for 2.0 s, and does not answer yet."
    assert "did not answer within 2 s: it is busy, or hangs" in hanging.sentence


def test_an_ended_run_tells_how_and_a_killed_one_what_to_do(tmp_path):
    (tmp_path / "logs").mkdir()
    never = described(tmp_path)
    (tmp_path / "logs/launcher.log").touch()
    killed = described(tmp_path)
    write_end(tmp_path, Ending(code=71, reason="3 crashes", culprit="rollout-0", at=time.time()))
    ended = described(tmp_path)
    forget_end(tmp_path)

    assert never.endswith("and nothing has")
    assert "its launcher was killed" in killed
    assert ended.endswith("rollout-0: 3 crashes (exit code 71 (the inference engine))")
    assert described(tmp_path) == killed


def test_the_last_words_of_whoever_ended_a_run_are_told(tmp_path):
    write_end(tmp_path, Ending(code=65, reason="failed", culprit="learner", at=time.time(), last_words="no rows in a"))

    assert described(tmp_path).endswith("; its last words: no rows in a")


def observed():
    def row(name, role, *, pid, **changes):
        instance = an_instance(name=name, role=role, pid=pid, port=54321, **changes)
        return {"instance": instance, "weight_version": 4, "ready": "yes", "release": "0.1.0"}

    rows = (
        Row(**row("learner", "learner", pid=1234567), waits_for="grades of reward-0"),
        Row(**row("broadcaster", "broadcaster", pid=1234568), waits_for="version 5 of the learner"),
        Row(**row("prometheus", "prometheus", pid=1234569, state="starting") | {"ready": "no answer"}),
        Row(**row("reward-0", "reward", pid=1234570), waits_for="a group to grade"),
        Row(
            **row("rollout-0", "rollout", pid=1234571, restarts=2, last_exit="killed by SIGKILL after 3 s"),
            lag_steps=1,
            num_leases=2,
            tokens_per_s=654.3,
        ),
        Row(**row("rollout-1", "rollout", pid=1234572) | {"ready": "stopped by a signal"}, lag_steps=12, num_leases=16),
    )
    replicas = {"reward": Replicas(wanted=1, up=1), "rollout": Replicas(wanted=3, up=2)}
    waits = parsed(FIELDS)
    return Observed(run="demo", phase="up", pid=3, rows=rows, waits=waits, tokens_per_s=1234.5, replicas=replicas)


def drawn(width):
    from rich.console import Console

    console = Console(width=width, record=True, file=io.StringIO())
    console.print(draw(observed()))
    return console.export_text()


@pytest.mark.parametrize(
    "words",
    ["step 1 of 9", "1,234 tokens/s", "rollout-0", "0:01:05", "journal of step 2", "rollout 2/3", "654", "0.1.0"],
)
def test_the_table_shows_all_that_is_known(words):
    assert words in drawn(200)


@pytest.mark.parametrize("width", [80, 100, 139, 140])
def test_a_terminal_shows_every_name_and_number_whole(width):
    lines = drawn(width).splitlines()

    assert "…" not in "".join(lines)
    assert max(map(len, lines)) <= width
    (head,) = [line for line in lines if "process" in line and "ready" in line]
    for column in ("process", "port", "state", "restarts", "weights", "lag", "leases", "tokens/s", "ready"):
        assert column in head
    for row in observed().rows:
        (line,) = [line for line in lines if row.instance.name in line.split()[:2] and "54321" in line]
        assert row.instance.state in line


def test_a_narrow_terminal_leaves_out_what_an_operator_can_do_without():
    text = drawn(80)

    for left_out in ("1234571", "0.1.0", "0:01:05"):
        assert left_out not in text
    assert "waits for" in text


def test_the_newest_speed_is_read_from_the_figures(tmp_path):
    assert newest_tokens_per_s(tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "time": 1, "metrics": {"trainer/tokens_per_second": 5.0}}\n'
        '{"step": 1, "time": 2, "metrics": {"eval/all/mean_reward": 0.5}}\n'
    )

    assert newest_tokens_per_s(tmp_path) == 5.0
