"""Text is given out as soon as later tokens cannot change it, and nothing is given out twice."""

from hypothesis import given
from hypothesis import strategies as st

from tetrad_rollout.infer.transcript import Transcript, cut_at


def as_utf8(ids):
    return bytes(ids).decode("utf-8", errors="replace")


def pieces(text, *, stop=()):
    """What is given out after each byte."""
    transcript, data = Transcript(as_utf8, stop), text.encode()
    given_out = [transcript.grown(data[:end], is_finished=False) for end in range(1, len(data) + 1)]
    return [*given_out, transcript.grown(data, is_finished=True)]


def test_half_a_character_waits_for_the_rest():
    assert pieces("aé✓") == ["a", "", "é", "", "", "✓", ""]


def test_what_may_become_a_stop_string_waits_until_it_cannot():
    assert pieces("a\nb", stop=("\n\n",)) == ["a", "", "\nb", ""]
    assert "".join(pieces("a\n\nb", stop=("\n\n",))) == "a"


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=3), max_size=2))
def test_the_pieces_are_the_text_before_the_first_stop_string(text, stop):
    end = next((n for n in range(len(text)) if any(text[: n + 1].endswith(s) for s in stop)), len(text))
    said = text[: end + 1]

    assert "".join(pieces(said, stop=tuple(stop))) == cut_at(said, stop)
