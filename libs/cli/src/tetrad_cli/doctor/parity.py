"""Environment parity: whether processes that will exchange weights have the same libraries and variables.

Owns the list of what has to agree, and why. Imports none of the packages that it asks about; other interpreters are
asked by a process each, under a deadline.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_weights.group_sides import FORCED, overridden, steering

PROBE_TIMEOUT_S: Final = 30.0
ABSENT: Final = "not here"
NAME_ONE: Final = "name an interpreter that can be run, such as .venv-gpu/bin/python"
FIX: Final = "install the same release in both"

# Runs in the other interpreter: nothing but the standard library, and torch is read, not imported.
PROBE: Final = """
import json, re
from importlib.metadata import PackageNotFoundError, distribution, distributions
found = {}
for name in ("torch", "transformers"):
    try:
        found[name] = distribution(name).version
    except PackageNotFoundError:
        pass
nccl = [d for d in distributions() if (d.metadata["Name"] or "").startswith("nvidia-nccl-")]
if nccl:
    found["nccl"] = nccl[0].version
try:
    text = distribution("torch").locate_file("torch/version.py").read_text()
    cuda = re.search(r"^cuda.*= *['\\"]([\\d.]+)", text, re.MULTILINE)
    if cuda:
        found["cuda"] = cuda[1]
except (PackageNotFoundError, OSError):
    pass
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Library:
    """What has to agree."""

    name: str
    verdict: Verdict
    """What it means where it does not."""
    reason: str


LIBRARIES: Final = (
    Library("torch", Verdict.BAD, "GPU memory is handed over in the format of one release"),
    Library("cuda", Verdict.BAD, "handles of GPU memory are opened by the runtime that made them"),
    Library("nccl", Verdict.BAD, "both ends of a transfer must speak one version"),
    Library("transformers", Verdict.NOTE, "tokenizers and parameter names may differ"),
)


def check(patient: Patient) -> list[Finding]:
    """Whether this interpreter and those that are named agree."""
    return parity(patient.pythons, patient.environ)


def parity(interpreters: Sequence[Path], environ: Mapping[str, str]) -> list[Finding]:
    """Compare this interpreter with others that will run services, and look at the variables that they inherit."""
    asked = list(dict.fromkeys([Path(sys.executable), *interpreters]))
    found: dict[Path, dict[str, str]] = {}
    findings: list[Finding] = []
    for interpreter in asked:
        try:
            found[interpreter] = probe(interpreter, environ)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            findings.append(
                Finding(Verdict.BAD, f"same as {interpreter}", f"{interpreter} could not be asked: {error}", NAME_ONE)
            )
    return [*findings, *_libraries(found), *_variables(environ)]


def probe(interpreter: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Ask an interpreter for its libraries; absent ones are left out."""
    done = subprocess.run(
        [str(interpreter), "-c", PROBE],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=PROBE_TIMEOUT_S,
        check=True,
    )
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def _libraries(found: Mapping[Path, Mapping[str, str]]) -> Iterator[Finding]:
    for library in LIBRARIES:
        versions = {interpreter: have.get(library.name, ABSENT) for interpreter, have in found.items()}
        if len(set(versions.values())) <= 1:
            where = "one environment" if len(found) == 1 else f"all {len(found)} environments"
            yield Finding(
                Verdict.GOOD,
                f"same {library.name}",
                f"{library.name} {next(iter(versions.values()), ABSENT)} in {where}",
            )
        else:
            told = "; ".join(f"{version} in {interpreter}" for interpreter, version in versions.items())
            yield Finding(
                library.verdict, f"same {library.name}", f"{library.name} differs: {told}; {library.reason}", FIX
            )


def _variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name, value in overridden(environ).items():
        yield Finding(
            Verdict.NOTE,
            name,
            f"{name}={value} here, and so for all processes of a run; weights by NCCL use {FORCED[name]}",
        )
    others = ", ".join(f"{name}={value}" for name, value in steering(environ).items() if name not in FORCED)
    if others:
        yield Finding(Verdict.NOTE, "same variables", f"{others}: set the same wherever processes of one run start")
