"""Images hold a service and what it declares, and the files around them say what the services understand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "deploy" / "containers"
SERVICE_NAMES = ("broadcaster", "learner", "reward", "rollout")
ALSO = {"learner": {"cli"}}
COMPOSE = ("compose.yaml", "compose.gpu.yaml", "compose.monitoring.yaml")
BIN = Path(sys.executable).parent


def dockerfile(service: str) -> str:
    return (CONTAINERS / f"{service}.Dockerfile").read_text(encoding="utf-8")


def closure(distributions, name: str) -> set[str]:
    by_name = {one.name: one for one in distributions}
    wanted, found = {name}, set()
    while wanted:
        one = by_name[wanted.pop()]
        found.add(one.name)
        wanted |= {need for need in one.required if need in by_name} - found
    return found


@pytest.mark.parametrize("service", SERVICE_NAMES)
def test_an_image_is_built_from_its_service_and_the_libraries_that_it_declares(service, check_dependencies):
    distributions = check_dependencies.distributions(check_dependencies.ROOT)
    wanted = closure(distributions, f"tetrad-{service}")
    for also in ALSO.get(service, ()):
        wanted |= closure(distributions, f"tetrad-{also}")

    copied = re.findall(r"^COPY (?:libs|services)/(\S+) ", dockerfile(service), re.MULTILINE)

    assert {f"tetrad-{name}" for name in copied} == wanted


@pytest.mark.parametrize("service", SERVICE_NAMES)
def test_hadolint_finds_nothing(service):
    linted = subprocess.run(
        [BIN / "hadolint", CONTAINERS / f"{service}.Dockerfile"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (linted.returncode, linted.stdout) == (0, "")
