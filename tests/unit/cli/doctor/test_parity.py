"""Whether the environments of processes that exchange weights agree; scripts stand for other interpreters."""

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tetrad_cli.doctor.finding import Finding, Verdict
from tetrad_cli.doctor.parity import LIBRARIES, parity, probe

ENVIRON = {"PATH": "/usr/bin:/bin"}


def an_interpreter(folder: Path, answer: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def of(findings: list[Finding], verdict: Verdict) -> list[str]:
    return [finding.detail for finding in findings if finding.verdict is verdict]


def test_this_interpreter_tells_what_it_has() -> None:
    assert probe(Path(sys.executable), ENVIRON)["torch"] == version("torch")


def test_one_environment_agrees_with_itself() -> None:
    findings = parity([Path(sys.executable)], ENVIRON)

    assert len(of(findings, Verdict.GOOD)) == len(LIBRARIES) == len(findings)
    assert f"torch {version('torch')} in one environment" in of(findings, Verdict.GOOD)


def test_another_release_of_torch_is_named_with_both_places(tmp_path: Path) -> None:
    other = an_interpreter(tmp_path, '{"torch": "1.13.0", "nccl": "2.10"}')

    bad = "\n".join(of(parity([other], ENVIRON), Verdict.BAD))

    assert f"torch differs: {version('torch')} in {sys.executable}; 1.13.0 in {other}" in bad
    assert "nccl differs" in bad


def test_an_interpreter_that_cannot_be_asked_is_named(tmp_path: Path) -> None:
    findings = parity([tmp_path / "nowhere"], ENVIRON)

    assert f"{tmp_path / 'nowhere'} could not be asked" in of(findings, Verdict.BAD)[0]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"NCCL_CUMEM_ENABLE": "1"}, "NCCL_CUMEM_ENABLE=1 here"),
        ({"NCCL_PROTO": "LL"}, "NCCL_PROTO=LL: set the same"),
        ({"GLOO_DEVICE_TRANSPORT": "TCP"}, "GLOO_DEVICE_TRANSPORT=TCP: set the same"),
    ],
)
def test_variables_that_steer_collectives_are_told(variables: dict[str, str], expected: str) -> None:
    assert expected in of(parity([], {**ENVIRON, **variables}), Verdict.NOTE)[0]


def test_variables_that_name_a_hosts_own_devices_need_not_be_the_same() -> None:
    assert of(parity([], {**ENVIRON, "NCCL_SOCKET_IFNAME": "eth0"}), Verdict.NOTE) == []
