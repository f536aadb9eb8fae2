"""SGLang, the engine for GPUs: the one version that the rollout service was built with."""

from collections.abc import Iterator

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_cli.doctor.gpus import gpu_names
from tetrad_cli.doctor.installed import pinned_by, version_of
from tetrad_cli.doctor.recipes import INSTALL_SGLANG


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether it is there in that version."""
    yield pinned_finding("sglang", gpus=len(gpu_names()))


def pinned_finding(name: str, *, gpus: int) -> Finding:
    """Compare an installed package with the version that the rollout service was built with."""
    found, wanted = version_of(name), pinned_by("tetrad-rollout", name)
    if found is None:
        use = f"needed by generator.backend=sglang on the {gpus} GPUs here" if gpus else "needed on GPUs only"
        return Finding(Verdict.NOTE, name, f"not installed; {use}", INSTALL_SGLANG)
    if wanted is not None and not _is_same(found, wanted):
        verdict = Verdict.BAD if gpus else Verdict.NOTE
        return Finding(verdict, name, f"{found}; tested with {wanted} alone", INSTALL_SGLANG)
    return Finding(Verdict.GOOD, name, found)


def _is_same(found: str, wanted: str) -> bool:
    # A local build adds a suffix: 0.5.15+cpu. A post-release differs in its packaging alone.
    return found.partition("+")[0].partition(".post")[0] == wanted.partition("+")[0].partition(".post")[0]
