"""All checks, in the order in which they are shown, and what runs them."""

from collections.abc import Sequence
from typing import Final

from tetrad_cli.doctor import (
    chat_template,
    cores,
    disk,
    driver,
    flashinfer,
    gpus,
    interpreter,
    keys,
    memory,
    nccl,
    open_files,
    packages,
    parity,
    ports,
    sglang,
    shared_memory,
    torch_build,
)
from tetrad_cli.doctor.finding import Check, Finding, Patient, Verdict

CHECKS: Final[Sequence[Check]] = (
    interpreter.check,
    packages.check,
    torch_build.check,
    gpus.check,
    driver.check,
    nccl.check,
    parity.check,
    sglang.check,
    flashinfer.check,
    cores.check,
    memory.check,
    shared_memory.check,
    disk.check,
    ports.check,
    open_files.check,
    keys.check,
    chat_template.check,
)


def examine(patient: Patient) -> list[Finding]:
    """Look at everything. A check that breaks is a finding of its own: the others are worth reading all the same."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check(patient)
        except Exception as error:
            name = check.__module__.rpartition(".")[2]
            findings.append(Finding(Verdict.NOTE, name, f"could not be looked at: {type(error).__name__}: {error}"))
    return findings
