"""Keys of the services: whether those that are asked for can be used."""

from collections.abc import Iterator

from tetrad_cli.doctor.finding import Finding, Patient
from tetrad_cli.key_place import key_findings


def check(patient: Patient) -> Iterator[Finding]:
    """Whether the folder is there, and each key in it is whole and private."""
    yield from key_findings(patient.environ)
