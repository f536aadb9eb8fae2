"""`tetrad conformance reward` against real services: ours, one in Node.js, and one that breaks a rule."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration.node_site import environment, installed

from tetrad_cli.commands.conformance import main
from tetrad_cli.conformance.trial import RULES
from tetrad_config import RunConfig, dump_resolved

FORGETFUL = Path(__file__).with_name("forgetful_reward.py")
PATIENCE_S = 200.0


@contextlib.contextmanager
def serving(
    folder: Path, command: list[str], env: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@dataclass(frozen=True)
class Endpoints:
    """Where the service is asked, and where it looks for its coordinator."""

    reward: str
    coordinator: str


def sockets(folder: Path) -> Endpoints:
    return Endpoints(f"ipc://{folder}/r", f"ipc://{folder}/c")


def ports() -> Endpoints:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return Endpoints(*(f"tcp://127.0.0.1:{each.getsockname()[1]}" for each in (one, other)))


def ours(folder: Path, *program: str, at: Endpoints | None = None) -> list[str]:
    (folder / "config.yaml").write_text(dump_resolved(RunConfig()))
    at = at or sockets(folder)
    return [sys.executable, *program, "--run-dir", str(folder), "--coordinator", at.coordinator, "--bind", at.reward]


def tried(folder: Path, *words: str, at: Endpoints | None = None) -> "tuple[int, dict[str, dict[str, str]]]":
    at = at or sockets(folder)
    command = [sys.executable, "-m", "tetrad_cli", "conformance", "reward", at.reward, "--json"]
    done = subprocess.run(
        [*command, "--coordinator", at.coordinator, *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert findings, done.stderr
    return done.returncode, {finding["rule"]: finding for finding in findings}


def broken(findings: "dict[str, dict[str, str]]") -> "dict[str, tuple[str, str]]":
    return {name: (one["expected"], one["got"]) for name, one in findings.items() if one["verdict"] == "fail"}


def test_our_own_service_keeps_every_rule(tmp_path: Path) -> None:
    with serving(tmp_path, ours(tmp_path, "-m", "tetrad_reward")) as process:
        code, findings = tried(tmp_path)
        assert broken(findings) == {}
        assert code == 0
        assert process.wait(30) == 0
    assert {one["verdict"] for one in findings.values()} == {"pass"}
    assert len(findings) > 25


def test_our_own_service_keeps_them_over_tcp_as_well(tmp_path: Path) -> None:
    at = ports()
    # Leaving takes as long as its open episodes may take, over any transport.
    rules = [rule.__name__ for rule in RULES if rule.__name__ != "drains"]
    only = [word for rule in rules for word in ("--only", rule)]
    with serving(tmp_path, ours(tmp_path, "-m", "tetrad_reward", at=at), {**os.environ, "TETRAD_ALLOW_CLEAR_TCP": "1"}):
        code, findings = tried(tmp_path, *only, at=at)

    assert broken(findings) == {}
    assert code == 0
    assert set(findings) >= set(rules)


def test_a_service_that_grades_a_repeated_turn_anew_is_found_out(tmp_path: Path) -> None:
    with serving(tmp_path, ours(tmp_path, str(FORGETFUL))):
        code, findings = tried(tmp_path, "--only", "grades_turns", "--only", "grades_once", "--only", "opens_once")

    assert code == 1
    assert set(broken(findings)) == {"grades_once", "opens_once"}
    assert all(expected and got for expected, got in broken(findings).values())


def test_a_service_that_never_registers_fails_the_first_rule(tmp_path: Path) -> None:
    code, findings = tried(tmp_path, "--deadline", "0.5")

    assert code == 1
    assert broken(findings) == {"says_hello": ("a hello within 0.5 s", "nothing")}


def test_a_row_of_the_user_s_own_is_graded(tmp_path: Path) -> None:
    row = {"env_class": "arithmetic", "ground_truth": "7", "action": "7", "reward": 0.25}
    (tmp_path / "row.json").write_text(json.dumps(row))
    with serving(tmp_path, ours(tmp_path, "-m", "tetrad_reward")):
        code, findings = tried(tmp_path, "--row", str(tmp_path / "row.json"), "--only", "grades_turns")

    assert code == 1
    assert broken(findings) == {"grades_turns": ("reward 0.25, as the row says", "1.0")}


def test_the_service_in_node_js_keeps_every_rule(tmp_path: Path) -> None:
    at = ports()
    env = environment(coordinator=at.coordinator, bind=at.reward)
    installed(tmp_path)
    with serving(tmp_path, ["node", "service.mjs"], env) as process:
        code, findings = tried(tmp_path, at=at)
        assert broken(findings) == {}
        assert code == 0
        assert process.wait(30) == 0


def test_the_example_is_short() -> None:
    lines = (Path(__file__).parents[2] / "examples" / "reward-service-node" / "service.mjs").read_text().splitlines()

    assert len(lines) <= 150


def test_an_unknown_rule_is_an_error_that_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["reward", "tcp://127.0.0.1:1", "--only", "grades_one"])

    assert code == 2
    assert "no rule grades_one; rules are says_hello, " in capsys.readouterr().err


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "tcp://10.0.0.1:7001", "tcp://127.0.0.1"])
def test_an_endpoint_that_cannot_be_tried_is_an_error(endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["reward", endpoint])

    assert code == 2
    assert endpoint in capsys.readouterr().err
