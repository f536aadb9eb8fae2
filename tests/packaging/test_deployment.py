"""What is under deploy/ fits together and fits the services: checked without a cluster."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest
import yaml

from tetrad_config import (
    BroadcasterSettings,
    CoordinatorSettings,
    HostSettings,
    RewardSettings,
    RolloutSettings,
    load_settings,
)
from tetrad_transport.keys import Keyring, KeyRole

DEPLOY = Path(__file__).parents[2] / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
SBATCH = DEPLOY / "slurm" / "tetrad.sbatch"
SETTINGS = {
    "tetrad-learner": CoordinatorSettings,
    "tetrad-broadcaster": BroadcasterSettings,
    "tetrad-host": HostSettings,
    "tetrad-reward": RewardSettings,
    "tetrad-rollout": RolloutSettings,
}
# What the cluster fills in.
FIELDS = {"status.podIP": "10.1.2.3", "metadata.name": "rollout-0"}


def documents():
    names = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    return [document for name in names for document in yaml.safe_load_all((BASE / name).read_text())]


def workloads():
    return [one for one in documents() if one["kind"] in {"StatefulSet", "Deployment"}]


def containers():
    return [(one, box) for one in workloads() for box in one["spec"]["template"]["spec"]["containers"]]


def environment(container) -> dict[str, str]:
    told: dict[str, str] = {}
    for variable in container["env"]:
        value = variable.get("value")
        if value is None:
            value = FIELDS[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        told[variable["name"]] = value.replace("$(POD_IP)", told.get("POD_IP", "$(POD_IP)"))
    return told


@pytest.mark.parametrize(("workload", "container"), containers(), ids=lambda one: one.get("name"))
def test_a_service_understands_what_its_pod_tells_it(workload, container):
    (command,) = container["command"]
    told = {name: value for name, value in environment(container).items() if name.startswith("TETRAD_")}

    settings = load_settings(SETTINGS[command], [], told)

    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probed = {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {ports[name] for name in probed} == {settings.metrics_port}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert settings.metrics_host == "0.0.0.0"
    assert settings.keys == Path("/keys")
    assert not settings.allow_clear_tcp
    if "TETRAD_BIND" in told:
        assert int(told["TETRAD_BIND"].rpartition(":")[2]) in ports.values()


@pytest.mark.parametrize("workload", workloads(), ids=lambda one: one["metadata"]["name"])
def test_every_mount_has_a_volume_and_every_volume_a_mount(workload):
    pod = workload["spec"]["template"]["spec"]
    claims = workload["spec"].get("volumeClaimTemplates", [])
    there = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in claims}

    boxes = [*pod["initContainers"], *pod["containers"]]
    mounted = {mount["name"] for box in boxes for mount in box["volumeMounts"]}

    assert mounted == there


ROLES = {
    "learner": (KeyRole.COORDINATOR, KeyRole.TRAINER),
    "broadcaster": (KeyRole.BROADCASTER,),
    "host": (KeyRole.TRAINER,),
    "reward": (KeyRole.REWARD,),
    "rollout": (KeyRole.ROLLOUT,),
}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    keys = str(tmp_path_factory.mktemp("all") / "keys")
    command = [sys.executable, "-m", "tetrad_cli", "keys"]
    subprocess.run([*command, "init", "--folder", keys], check=True, timeout=60, capture_output=True)
    printed = subprocess.run(
        [*command, "export", "--k8s", "--folder", keys], check=True, timeout=60, capture_output=True
    ).stdout
    return {secret["metadata"]["name"]: secret["data"] for secret in json.loads(printed)["items"]}


def test_every_secret_that_is_exported_is_one_that_a_pod_mounts(secrets):
    volumes = [volume for one in workloads() for volume in one["spec"]["template"]["spec"]["volumes"]]

    assert {volume["secret"]["secretName"] for volume in volumes if "secret" in volume} == secrets.keys()


@pytest.mark.parametrize(("workload", "container"), containers(), ids=lambda one: one.get("name"))
def test_a_pod_makes_of_its_secret_the_keys_of_its_service(workload, container, secrets, tmp_path):
    pod = workload["spec"]["template"]["spec"]
    (volume,) = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/keys"]
    (copier,) = [box for box in pod["initContainers"] if {"name": volume, "mountPath": "/keys"} in box["volumeMounts"]]
    (source,) = [mount["name"] for mount in copier["volumeMounts"] if mount["mountPath"] == "/secret"]
    (secret,) = [one["secret"]["secretName"] for one in pod["volumes"] if one["name"] == source]
    places = {"/keys": tmp_path / "keys", "/secret": tmp_path / "secret"}
    for place in places.values():
        place.mkdir()
    for name, text in secrets[secret].items():
        (places["/secret"] / name).write_bytes(b64decode(text))
        (places["/secret"] / name).chmod(0o440)  # as with fsGroup

    script = copier["command"][-1].replace("/keys", str(places["/keys"])).replace("/secret", str(places["/secret"]))
    for _ in range(2):  # a pod may be started again
        subprocess.run([*copier["command"][:-1], script], check=True, timeout=60)

    assert copier["image"] == container["image"]
    for role in ROLES[container["name"]]:
        ring = Keyring(places["/keys"], role=role, name=container["name"])
        assert ring.coordinator
    found = {path.stem for path in (places["/keys"] / "private").iterdir()}
    assert found == {role.value for role in ROLES[container["name"]]}


def test_a_job_of_slurm_without_keys_does_not_start(tmp_path):
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
    (tmp_path / "open").mkdir(mode=0o755)

    for given, why in (({}, "tetrad keys init"), ({"TETRAD_KEYS": str(tmp_path / "open")}, "chmod 700")):
        ended = subprocess.run(
            ["bash", SBATCH],
            env={**surroundings, "SLURM_JOB_ID": "7", **given},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode != 0
        assert why in ended.stderr


def test_every_service_finds_its_pods_and_every_peer_its_service():
    labels = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in workloads()}
    services = {one["metadata"]["name"]: one["spec"] for one in documents() if one["kind"] == "Service"}

    assert services.keys() == labels.keys()
    for name, service in services.items():
        assert service["selector"].items() <= labels[name].items()
    for _workload, container in containers():
        coordinator = environment(container).get("TETRAD_COORDINATOR")
        assert coordinator in {None, "tcp://learner-0.learner:7000"}


def test_the_ledger_has_a_disk_of_its_own_and_memory_is_shared_where_versions_pass():
    learner = next(one for one in workloads() if one["metadata"]["name"] == "learner")
    pod = learner["spec"]["template"]["spec"]

    assert learner["spec"]["replicas"] == 1
    assert learner["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert pod["shareProcessNamespace"]
    assert all({"name": "shm", "mountPath": "/dev/shm"} in box["volumeMounts"] for box in pod["containers"])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("folder", ["base", "overlays/gpu"])
def test_kustomize_builds_it_and_the_schemas_of_kubernetes_take_it(folder):
    command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes" / folder)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert built.returncode == 0, built.stderr
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for document in yaml.safe_load_all(built.stdout):
        # Strict: a misspelt key is an error.
        kubernetes_validate.validate(document, "1.30", strict=True)


def test_the_script_for_slurm_is_sound():
    linter = ["shellcheck", str(SBATCH)] if shutil.which("shellcheck") else ["bash", "-n", str(SBATCH)]

    checked = subprocess.run(linter, capture_output=True, text=True, timeout=60, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
