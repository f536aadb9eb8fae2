import json

import pytest

from tetrad_reward.grade_rows import BadRowError, graded, read_row
from tetrad_reward.requests import Stepped, crashed
from tetrad_wire.messages.leases import ChatMessage, FailureKind


def a_row(**columns):
    return read_row(json.dumps({"response": "x", "ground_truth": "1", **columns}).encode(), number=7, grader="g")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "line 7: no JSON"),
        (b"\xff", "line 7: no JSON"),
        (b"[]", "line 7: list"),
        (b'{"ground_truth": "1"}', "line 7: response is null"),
        (b'{"response": 5, "ground_truth": "1"}', "line 7: response is 5"),
        (b'{"response": "x"}', "line 7: no ground_truth"),
        (b'{"response": "x", "ground_truth": 1}', "line 7: ground_truth is 1; write it as text"),
        (b'{"response": "x", "reward_spec": {"ground_truth": 1}}', "line 7: reward_spec.ground_truth is int"),
        (b'{"response": "x", "ground_truth": "1", "prompt": 5}', "line 7: prompt"),
        (b'{"response": "x", "ground_truth": "1", "prompt": [{"role": "user"}]}', "line 7: prompt"),
    ],
)
def test_a_bad_row_is_named_by_its_line(line, complaint):
    with pytest.raises(BadRowError) as error:
        read_row(line, number=7, grader="g")

    assert str(error.value).startswith(complaint)


def test_the_ground_truth_goes_where_environments_look_for_it():
    row = a_row(level=3)

    assert row.opening.extras == {
        "max_turns": 1,
        "level": 3,
        "reward_spec": {"method": "rule", "ground_truth": "1"},
    }


def test_a_prompt_may_be_text_or_messages():
    message = {"role": "user", "content": "hi"}

    assert (
        a_row(prompt="hi").opening.messages == a_row(prompt=[message]).opening.messages == (ChatMessage("user", "hi"),)
    )


def test_the_grade_wins_over_columns_of_the_same_name():
    reply = Stepped(reward=0.5, is_done=True, duration_s=0.0, rule="hash", scores={"strict": 1.0})

    row = graded(a_row(reward=9, id=1, scores={"strict": 9.0, "old": 9.0}), reply)

    assert (row["reward"], row["rule"], row["id"], row["outcome"]) == (0.5, "hash", 1, "ok")
    assert row["scores"] == {"strict": 1.0}
    assert "reason" not in row


def test_a_failure_has_a_reason_and_no_reward():
    row = graded(a_row(), crashed("why", kind=FailureKind.DATA))

    assert (row["reward"], row["outcome"], row["reason"]) == (None, "crashed", "why")
