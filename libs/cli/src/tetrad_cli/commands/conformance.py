"""`tetrad conformance reward ENDPOINT`: whether a service, in whatever language, keeps the protocol's promises."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tetrad_cli.conformance.site import Row
    from tetrad_cli.conformance.trial import Finding

COORDINATOR: Final = "tcp://127.0.0.1:7700"
HELLO_S: Final = 60.0
USAGE_ERROR: Final = 2


def main(argv: Sequence[str]) -> int:
    """Run the command; 0 where every rule holds, 1 where one is broken."""
    arguments = _parser().parse_args(list(argv))
    from tetrad_transport import TransportError

    try:
        return _try(arguments)
    except (TransportError, ValueError, OSError) as error:
        print(f"tetrad conformance: {error}", file=sys.stderr)
        return USAGE_ERROR


def read_row(path: Path | None) -> "Row":
    """Read the row that is graded; raises ValueError naming the file."""
    from tetrad_cli.conformance.site import Row

    if path is None:
        return Row()
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
        if "messages" in fields:
            fields["messages"] = tuple((one["role"], one["content"]) for one in fields["messages"])
        return Row(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is no row: {error!r}; it may have env_class, messages, ground_truth, extras, action and reward"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tetrad conformance",
        description="Try a reward service that is running, rule by rule. It must have been told the trial's "
        "coordinator; it is drained at the end, and leaves.",
    )
    parser.add_argument("role", choices=["reward"], help="what kind of service it is")
    parser.add_argument("endpoint", metavar="ENDPOINT", help="where it binds: tcp://127.0.0.1:PORT or ipc://PATH")
    parser.add_argument(
        "--coordinator", default=COORDINATOR, metavar="ENDPOINT", help=f"where it registers; default {COORDINATOR}"
    )
    parser.add_argument("--row", type=Path, metavar="FILE", help="JSON of a row that it can grade, and a response")
    parser.add_argument("--deadline", type=float, default=HELLO_S, metavar="S", help="for its hello; default 60")
    parser.add_argument("--only", action="append", metavar="RULE", help="try this rule; may be repeated; default all")
    parser.add_argument("--json", action="store_true", help="one object a rule, for programs")
    return parser


def _try(arguments: argparse.Namespace) -> int:
    from tetrad_cli.conformance.site import Site
    from tetrad_cli.conformance.trial import RULES, try_service
    from tetrad_transport.endpoints import check_endpoint
    from tetrad_transport.raw import RawSocket

    for endpoint in (arguments.endpoint, arguments.coordinator):
        check_endpoint(endpoint, allow_clear_tcp=True)
    known = [rule.__name__ for rule in RULES]
    if unknown := [name for name in arguments.only or () if name not in known]:
        raise ValueError(f"no rule {', '.join(unknown)}; rules are {', '.join(known)}")
    row = read_row(arguments.row)
    site = Site(arguments.endpoint, RawSocket.router(arguments.coordinator))
    print(f"waiting for {arguments.endpoint} to say hello at {arguments.coordinator}", file=sys.stderr, flush=True)
    findings: list[Finding] = []
    try:
        for finding in try_service(site, row, hello_s=arguments.deadline, only=arguments.only or ()):
            findings.append(finding)
            print(json.dumps(asdict(finding)) if arguments.json else _text(finding), flush=True)
    finally:
        site.close()
    return _summed_up(findings)


def _summed_up(findings: "Sequence[Finding]") -> int:
    count = {verdict: sum(one.verdict == verdict for one in findings) for verdict in ("pass", "fail", "skip")}
    print(f"{count['pass']} rules hold, {count['fail']} are broken, {count['skip']} do not apply", file=sys.stderr)
    return 1 if count["fail"] else 0


def _text(finding: "Finding") -> str:
    line = f"{finding.verdict}  {finding.rule}: {finding.promise}"
    match finding.verdict:
        case "fail":
            return f"{line}\n        expected: {finding.expected}\n        got:      {finding.got}"
        case "skip":
            return f"{line}\n        {finding.got}"
        case _:
            return line
