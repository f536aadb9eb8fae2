"""Images hold a service and what it declares, and the files around them say what the services understand."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tetrad_config import load_resolved
from tetrad_config.process import BroadcasterSettings, CoordinatorSettings, RewardSettings, RolloutSettings
from tetrad_config.settings import load_settings

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "deploy" / "containers"
SERVICE_NAMES = ("broadcaster", "learner", "reward", "rollout")
# The command, which prepares a run; and what an extra of the broadcaster needs.
ALSO = {"learner": {"cli"}, "broadcaster": {"devices"}}
COMPOSE = ("compose.yaml", "compose.gpu.yaml")
SETTINGS = {
    "broadcaster": BroadcasterSettings,
    "learner": CoordinatorSettings,
    "reward": RewardSettings,
    "rollout": RolloutSettings,
}
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


def compose(name: str) -> dict:
    return yaml.safe_load((ROOT / "deploy" / "compose" / name).read_text(encoding="utf-8"))


def test_the_compose_files_are_valid():
    files = [*(ROOT / "deploy" / "compose" / name for name in COMPOSE), ROOT / "deploy" / "grafana" / "compose.yaml"]

    checked = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout


def test_whatever_a_compose_file_refers_to_is_there():
    main, gpu = (compose(name) for name in COMPOSE)
    folder = ROOT / "deploy" / "compose"

    for name, service in main["services"].items():
        assert set(service.get("depends_on", ())) <= main["services"].keys(), name
        for kind in ("ipc", "pid"):
            _, is_shared, other = service.get(kind, "").partition("service:")
            assert not is_shared or other in main["services"], name
        assert set(service.get("networks", ())) <= main["networks"].keys(), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (folder / source).exists() if source.startswith(".") else source in main["volumes"], (name, volume)
        if "build" in service:
            build = service["build"]
            assert ((folder / build["context"]).resolve() / build["dockerfile"]).is_file(), name
    assert gpu["services"].keys() <= main["services"].keys()


@pytest.mark.parametrize("name", SERVICE_NAMES)
def test_what_a_container_is_told_is_what_its_service_understands(name):
    service = compose("compose.yaml")["services"][name]
    command = re.fullmatch(r"exec tetrad-(\w+) (.*)", service["entrypoint"][-1])
    told = shlex.split(command[2].replace("$$(hostname -i)", "10.0.0.5").replace("$$(hostname)", "0123456789ab"))

    settings = load_settings(SETTINGS[name], told, service["environment"])

    assert command[1] == name
    assert settings.keys == Path("/keys")
    assert settings.run_dir == Path("/outputs/run")


def test_every_service_that_stays_has_a_healthcheck():
    services = compose("compose.yaml")["services"]

    unwatched = {name for name, service in services.items() if not service.get("healthcheck", {}).get("test")}

    # It ends before the others start; they wait for its exit code.
    assert unwatched == {"prepare"}


def test_graders_that_need_more_are_asked_for_by_a_variable():
    assert compose("compose.yaml")["services"]["reward"]["build"]["args"] == {"EXTRAS": "${REWARD_EXTRAS:-}"}


def test_arguments_of_a_build_are_declared_in_its_dockerfile():
    main, gpu = (compose(name)["services"] for name in COMPOSE)

    for name, service in [*main.items(), *gpu.items()]:
        for argument in service.get("build", {}).get("args", {}):
            text = (ROOT / main[name]["build"]["dockerfile"]).read_text(encoding="utf-8")
            assert re.search(rf"^ARG {argument}\b", text, re.MULTILINE), (name, argument)


def test_each_service_gets_its_own_secrets_and_the_run_file_that_was_asked_for(tmp_path):
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "KEYS": str(tmp_path / "keys"),
        "OUTPUTS": str(tmp_path / "outputs"),
        "OWNER": f"{os.getuid()}:{os.getgid()}",
        "RUN": "+experiment=demo trainer.max_steps=3",
    }
    script = ROOT / "deploy" / "compose" / "prepare.sh"

    for _ in range(2):  # as often as one likes
        subprocess.run(["sh", script], env=environment, check=True, timeout=120, capture_output=True)

    config = load_resolved(tmp_path / "outputs" / "run" / "config.yaml")
    secrets = {name: {path.stem for path in (tmp_path / "keys" / name / "private").iterdir()} for name in SERVICE_NAMES}
    assert config.trainer.max_steps == 3
    assert secrets == {
        "broadcaster": {"broadcaster"},
        "learner": {"coordinator", "trainer"},
        "reward": {"reward"},
        "rollout": {"rollout"},
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "keys").rglob("private/*"))
