"""Extra scores are few, well named and finite, in whatever message they ride."""

import math

import pytest

from tetrad_testing.builders.episodes import a_grade
from tetrad_testing.builders.leases import a_sample
from tetrad_wire import Message, decode, encode
from tetrad_wire.scores import MAX_SCORES

BAD = {
    "one_too_many": ({f"s{number}": 1.0 for number in range(MAX_SCORES + 1)}, f"9 scores; the limit is {MAX_SCORES}"),
    "not_a_number": ({"strict": math.nan}, "score strict is nan"),
    "infinite": ({"strict": -math.inf}, "score strict is -inf"),
    "a_path": ({"a/b": 1.0}, "score 'a/b'"),
    "capitals": ({"Strict": 1.0}, "score 'Strict'"),
    "nothing": ({"": 1.0}, "score ''"),
    "a_very_long_name": ({"s" * 33: 1.0}, "1 to 32"),
    "a_line_break": ({"strict\n": 1.0}, "begins with a letter"),
}


@pytest.mark.parametrize("build", [a_grade, a_sample], ids=["grade", "sample"])
@pytest.mark.parametrize(("scores", "reason"), BAD.values(), ids=BAD)
def test_bad_scores_are_refused(build, scores, reason):
    with pytest.raises(ValueError, match=reason):
        build(scores=scores)


@pytest.mark.parametrize("build", [a_grade, a_sample], ids=["grade", "sample"])
def test_scores_travel(build):
    scores = {f"s{number}": number / 3 for number in range(MAX_SCORES)}

    assert decode([bytes(frame) for frame in encode(Message(body=build(scores=scores)))]).body.scores == scores
