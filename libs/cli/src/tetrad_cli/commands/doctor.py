"""`tetrad doctor`: looks at this machine and says what is short and what to do."""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tetrad_cli.doctor.finding import Finding


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit code is 72 when something is missing that runs here need."""
    parser = argparse.ArgumentParser(
        prog="tetrad doctor", description="Look at this machine; say what is missing, and what to do about it."
    )
    parser.add_argument("--model", metavar="FOLDER", help="look at the chat template and the size of this model too")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="another interpreter that services will run in; its libraries are compared with ours",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args(argv)
    from tetrad_cli.doctor.checks import examine
    from tetrad_cli.doctor.finding import Patient, Verdict
    from tetrad_runtime.exits import ExitCode

    findings = examine(Patient(environ=os.environ, model=arguments.model, pythons=tuple(arguments.python)))
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _print(findings)
    is_bad = any(finding.verdict is Verdict.BAD for finding in findings)
    return int(ExitCode.ENVIRONMENT if is_bad else ExitCode.OK)


def _print(findings: "Sequence[Finding]") -> None:
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        fix = f"  → {finding.fix}" if finding.fix else ""
        print(f"{finding.verdict:<7}  {finding.subject:<{width}}  {finding.detail}{fix}")
