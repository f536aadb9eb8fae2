"""Results of a benchmark as one JSON file that says what was measured, where, with what and how to do it again."""

import contextlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Final

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = Path(__file__).parent / "results"


def write_results(
    name: str,
    metrics: Mapping[str, float],
    *,
    packages: Iterable[str] = (),
    other_versions: Mapping[str, str] = MappingProxyType({}),
    setting: Mapping[str, str | int] = MappingProxyType({}),
    accelerator: str = "",
    folder: Path = RESULTS,
) -> Path:
    """Write `<folder>/<name>-<hardware>.json` and return its path.

    A metric's name ends in its unit (`copy_gigabytes_per_s`, `copy_ratio_to_memcpy`). `packages` are distributions
    whose versions matter, `other_versions` are of what is installed elsewhere; `setting` is what figures depend on and
    the command does not say, such as model and seed; `accelerator` names the device where one was used, such as `h100`.
    """
    slug = hardware_slug(accelerator)
    ours = {package: version(package) for package in packages}
    result = {
        "name": name,
        "hardware": {"slug": slug, "processor": _processor(), "cores": num_cores(), "memory_gib": _memory_gib()},
        "versions": {"python": platform.python_version(), **ours, **other_versions},
        "commit": _commit(),
        "command": shlex.join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]),
        **({"setting": dict(setting)} if setting else {}),
        "metrics": {key: _rounded(value) for key, value in metrics.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{slug}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those that are here."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def earlier_metrics(name: str, accelerator: str, *, folder: Path) -> dict[str, float]:
    """What was measured here before; empty where nothing was."""
    path = folder / f"{name}-{hardware_slug(accelerator)}.json"
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["metrics"] if path.exists() else {}
    return found


def hardware_slug(accelerator: str = "") -> str:
    """Name this machine in a file name: `cpu-2core`, or the accelerator.

    >>> hardware_slug("NVIDIA H100")
    'nvidia-h100'
    """
    return re.sub("[^a-z0-9]+", "-", accelerator.lower()).strip("-") or f"cpu-{num_cores()}core"


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_gib() -> float:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _commit() -> str:
    head = _git("rev-parse", "HEAD")
    # What the benchmarks before this one wrote is no change of the code that is measured.
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!benchmarks/README.md")
    return f"{head}-dirty" if head and changed else head or "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() if done.returncode == 0 else ""
