"""What is under deploy/ fits together and fits the services: checked without a cluster."""

import shutil
import subprocess
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
    if "TETRAD_BIND" in told:
        assert int(told["TETRAD_BIND"].rpartition(":")[2]) in ports.values()


@pytest.mark.parametrize("workload", workloads(), ids=lambda one: one["metadata"]["name"])
def test_every_mount_has_a_volume_and_every_volume_a_mount(workload):
    pod = workload["spec"]["template"]["spec"]
    claims = workload["spec"].get("volumeClaimTemplates", [])
    there = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in claims}

    mounted = {mount["name"] for box in pod["containers"] for mount in box["volumeMounts"]}

    assert mounted == there


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
