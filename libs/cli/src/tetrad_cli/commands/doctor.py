"""`tetrad doctor`: looks at this machine and says what is short and what to do."""

import argparse
import os
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit code is 72 when something is missing that every run needs."""
    parser = argparse.ArgumentParser(prog="tetrad doctor", description="Look at this machine.")
    parser.parse_args(argv)
    from tetrad_cli.key_place import key_findings
    from tetrad_cli.machine import Verdict, examine
    from tetrad_runtime.exits import ExitCode

    findings = [*examine(), *key_findings(os.environ)]
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{finding.verdict:<7}  {finding.subject:<{width}}  {finding.detail}")
    is_bad = any(finding.verdict is Verdict.BAD for finding in findings)
    return int(ExitCode.ENVIRONMENT if is_bad else ExitCode.OK)
