"""What an installation of one distribution brings along, and what it must not."""

import re

import pytest

HEAVY = {"torch", "transformers", "sglang"}
pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("packaging")]


def packages_in(said: str) -> set[str]:
    return {name.lower().replace("_", "-") for name in re.findall(r"^ \+ ([\w.-]+)==", said, re.MULTILINE)}


def test_the_reward_service_installs_and_starts_without_torch(environment, install):
    said = install(environment, ["tetrad-reward"])

    assert "tetrad-reward" in packages_in(said)
    assert not packages_in(said) & HEAVY
    assert "No module named 'torch'" in environment.run("python", "-c", "import torch").stderr
    helped = environment.run("tetrad-reward", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "TETRAD_COORDINATOR" in helped.stdout


@pytest.mark.parametrize("name", ["tetrad-broadcaster", "tetrad-cli"])
def test_neither_broadcaster_nor_command_line_needs_torch(environment, install, name):
    said = install(environment, ["--dry-run", name])

    assert name in packages_in(said)
    assert not packages_in(said) & HEAVY


@pytest.mark.parametrize("name", ["tetrad-learner", "tetrad-rollout"])
def test_learner_and_rollout_bring_torch(environment, install, name):
    said = install(environment, ["--dry-run", name])

    assert packages_in(said) >= {"torch", "transformers"}
