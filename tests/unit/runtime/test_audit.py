"""The audit log tells of refusals, and a flood of them does not flood it."""

import io
import json

from tetrad_runtime.audit import MAX_LINES, PERIOD_S, Audit
from tetrad_telemetry import logs
from tetrad_testing.clock import FakeClock
from tetrad_transport.keys import PublicKey
from tetrad_transport.refusal import Reason, Refusal


def a_refusal(reason: Reason = Reason.UNKNOWN_KEY) -> Refusal:
    return Refusal(reason=reason, endpoint="tcp://a:1", detail="handshake", address="10.0.0.9", key=PublicKey("k"))


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_who_was_refused_where_and_why():
    stream = io.StringIO()
    logs.configure(service="reward", format="json", stream=stream)

    Audit().note(a_refusal())

    (line,) = lines_of(stream)
    assert (line["logger"], line["event"], line["level"]) == ("tetrad.audit", "peer_refused", "warning")
    assert (line["reason"], line["endpoint"], line["address"], line["key"]) == (
        "unknown_key",
        "tcp://a:1",
        "10.0.0.9",
        "k",
    )


def test_a_flood_of_one_reason_costs_a_few_lines_and_hides_no_other_reason():
    stream, clock = io.StringIO(), FakeClock()
    logs.configure(service="reward", format="json", stream=stream)
    audit = Audit(clock=clock.now)

    for _ in range(1000):
        audit.note(a_refusal())
    audit.note(a_refusal(Reason.WRONG_ROLE))
    clock.advance(PERIOD_S)
    audit.note(a_refusal())

    lines = lines_of(stream)
    assert [line["reason"] for line in lines] == ["unknown_key"] * MAX_LINES + ["wrong_role", "unknown_key"]
    assert lines[-1]["untold"] == 1000 - MAX_LINES
