"""Build the four images with buildah and run a few steps of the demo in containers made from them.

For machines without a container engine: buildah's chroot isolation needs no daemon, and no registry where a base image
is made from Debian's packages. Containers share the host's network and process ids then; what is tried is that each
image holds all that its service needs, runs as its numeric user, and that the services find and trust each other with
the keys and the run file of `deploy/compose/prepare.sh`.

    python tools/check_containers.py [--base IMAGE] [--steps 3] [--keep] [--built]

Without --base a Debian with Python is made by debootstrap. Needs root, buildah, and debootstrap without --base.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
COMPOSE: Final = ROOT / "deploy" / "compose"
SERVICES: Final = ("broadcaster", "reward", "rollout")
BASE: Final = "localhost/tetrad-check-base"
RELEASE: Final = "bookworm"
"""Its Python is 3.11."""
PACKAGES: Final = "python3,python3-venv,ca-certificates"
ENVIRONMENT: Final = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs", "BUILDAH_FORMAT": "docker"}
BUILD_S: Final = 1800.0
RUN_S: Final = 600.0


def main() -> int:
    """Build, run, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="image with Python 3.11 or 3.12; default: Debian, made by debootstrap")
    parser.add_argument("--steps", type=int, default=3, help="training steps (default 3)")
    parser.add_argument("--keep", action="store_true", help="keep the images")
    parser.add_argument("--built", action="store_true", help="take the images that an earlier --keep left")
    arguments = parser.parse_args()
    needs_base = not (arguments.base or arguments.built)
    for program in ("buildah", *(("debootstrap",) if needs_base else ())):
        if shutil.which(program) is None:
            print(f"{program} is not installed: apt-get install {program}", file=sys.stderr)
            return 1
    if not arguments.built:
        base = arguments.base or made_base()
        for service in ("learner", *SERVICES):
            build(service, base)
    with tempfile.TemporaryDirectory(prefix="tetrad-containers-") as folder:
        try:
            code = run(Path(folder), steps=arguments.steps)
        finally:
            remove_containers()
    if not arguments.keep:
        buildah("rmi", *(f"localhost/tetrad-{service}" for service in ("learner", *SERVICES)))
    print("containers: ok" if code == 0 else f"containers: the learner ended with {code}")
    return code


def buildah(*words: str, timeout_s: float = 120.0) -> str:
    """Call buildah; returns what it printed."""
    done = subprocess.run(
        ["buildah", *words], env=ENVIRONMENT, text=True, capture_output=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise SystemExit(f"buildah {' '.join(words)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


def made_base() -> str:
    """A Debian with Python, as an image."""
    if buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        return BASE
    with tempfile.TemporaryDirectory(prefix="tetrad-base-") as folder:
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, folder]
        subprocess.run(command, check=True, timeout=BUILD_S, stdout=subprocess.DEVNULL)
        archive = f"{folder}.tar"
        subprocess.run(["tar", "-C", folder, "-cf", archive, "."], check=True, timeout=BUILD_S)
    container = buildah("from", "scratch")
    buildah("add", container, archive, "/", timeout_s=BUILD_S)
    buildah("commit", container, BASE, timeout_s=BUILD_S)
    buildah("rm", container)
    Path(archive).unlink()
    return BASE


def build(service: str, base: str) -> None:
    """Build one image; a folder of wheels and certificates of this machine are handed in."""
    began = time.monotonic()
    wheels = os.environ.get("UV_FIND_LINKS", "")
    given = ["--build-arg", f"BASE_IMAGE={base}", *host_files("/etc/ssl/certs", "/etc/xdg/pip", wheels)]
    if wheels:
        given += ["--build-arg", f"UV_FIND_LINKS={wheels}"]
    file = ROOT / "deploy" / "containers" / f"{service}.Dockerfile"
    tag = f"localhost/tetrad-{service}"
    buildah("build", "--network", "host", "--layers", *given, "-f", str(file), "-t", tag, str(ROOT), timeout_s=BUILD_S)
    print(f"built {tag} in {time.monotonic() - began:.0f} s", flush=True)


def host_files(*folders: str) -> list[str]:
    """Mounts of what is there."""
    return [word for folder in folders if folder and Path(folder).is_dir() for word in ("-v", f"{folder}:{folder}:ro")]


def run(folder: Path, *, steps: int) -> int:
    """Prepare a run, start its services as compose.yaml says, and return the learner's exit code."""
    keys, outputs = folder / "keys", folder / "outputs"
    for path in (keys, outputs):
        path.mkdir()
    # As a container engine would have it, but that all share one address.
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost learner {' '.join(SERVICES)}\n")
    shared = {str(outputs): "/outputs", str(hosts): "/etc/hosts:ro"}
    mounts = {**shared, str(keys): "/keys", str(COMPOSE / "prepare.sh"): "/prepare.sh"}
    order = f"+experiment=demo trainer.max_steps={steps} trainer.eval_interval=-1 trainer.eval_before_train=false"
    finished(start("learner", ["sh", "/prepare.sh"], mounts, {"RUN": order}, user="0:0"), timeout_s=RUN_S)
    services: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    processes = {}
    for index, name in enumerate(("learner", *SERVICES)):
        service = services[name]
        mounts = {**shared, str(keys / name): "/keys"}
        told = {**service["environment"], "TETRAD_METRICS_PORT": str(9100 + index)}
        words = [word.replace("$$", "$") for word in service["entrypoint"]]
        processes[name] = start(name, words, mounts, told)
    try:
        return finished(processes["learner"], timeout_s=RUN_S)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            finished(process, timeout_s=60.0)


def start(
    image: str, words: Sequence[str], mounts: Mapping[str, str], environment: Mapping[str, str], *, user: str = ""
) -> subprocess.Popen[bytes]:
    """Start a command in a container of its own."""
    container = buildah("from", f"localhost/tetrad-{image}", timeout_s=BUILD_S)
    options = ["--network", "host", "--no-hosts", "--hostname", image]
    options += [word for there, here in mounts.items() for word in ("-v", f"{there}:{here}")]
    options += [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    options += ["--user", user] if user else []
    return subprocess.Popen(["buildah", "run", *options, container, "--", *words], env=ENVIRONMENT)


def finished(process: subprocess.Popen[bytes], *, timeout_s: float) -> int:
    """Wait for it, and kill it if it is late."""
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def remove_containers() -> None:
    """Those that were made from our images."""
    made = buildah("containers", "--format", "{{.ContainerID}} {{.ImageName}}").splitlines()
    ours = [line.split()[0] for line in made if "localhost/tetrad-" in line]
    if ours:
        buildah("rm", *ours)


if __name__ == "__main__":
    sys.exit(main())
