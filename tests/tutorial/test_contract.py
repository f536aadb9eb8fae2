"""The tutorial, executed: every block in order, and what the text promises, T1 to T32."""

import pytest

from tutorial.promises import PROMISES
from tutorial.treatment import TREATMENTS, Kind
from tutorial.verdict import Outcome, verdict_of

pytestmark = [pytest.mark.live, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("number", [number for number, one in TREATMENTS.items() if one.kind is not Kind.NOT_RUN])
def test_a_block_does_what_it_is_for(walk, number):
    assert number not in walk.failed, walk.failed[number]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
def test_what_the_tutorial_says_is_so(walk, verdicts, promise):
    verdict = verdict_of(promise, walk)

    verdicts.append(verdict)
    if verdict.outcome in (Outcome.GPU, Outcome.PENDING):
        pytest.skip(f"{verdict.outcome}: {verdict.evidence}")
    assert verdict.outcome is not Outcome.FAIL, verdict.evidence


@pytest.mark.parametrize("number", [number for number, one in TREATMENTS.items() if one.kind is Kind.ERROR])
def test_an_error_of_part_8_does_not_occur(walk, number):
    message = walk.block(number).first_line

    for done in walk.done.values():
        assert message not in done.out + done.err, done.command
