"""When a sample is complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tetrad_rollout.engine.errors import InvalidRequestError
from tetrad_rollout.engine.protocol import Sampling
from tetrad_rollout.engine.stops import StopRule


def decode(ids: Sequence[int]) -> str:
    return bytes(ids).decode(errors="replace")


def a_rule(*, eos: Sequence[int] = (0,), **fields: Any) -> StopRule:
    return StopRule(Sampling(max_new_tokens=9, **fields), eos_token_ids=eos, decode=decode)


def test_end_of_sequence_and_stop_tokens_end_a_sample() -> None:
    rule = a_rule(stop_token_ids=(5,))

    assert [rule.is_met([7, token]) for token in (0, 5, 6)] == [True, True, False]


def test_ignoring_end_of_sequence_ignores_all_stop_tokens() -> None:
    assert not a_rule(stop_token_ids=(5,), ignore_eos=True).is_met([5])


def test_a_stop_string_may_begin_inside_an_earlier_token_and_hold_split_characters() -> None:
    rule = a_rule(stop_strings=("é!",))
    text = list(b"caf" + "é!".encode())

    met = [rule.is_met(text[: i + 1]) for i in range(len(text))]

    assert met == [False] * (len(text) - 1) + [True]


def test_only_the_end_of_a_long_sample_is_decoded() -> None:
    seen: list[int] = []

    def counting(ids: Sequence[int]) -> str:
        seen.append(len(ids))
        return decode(ids)

    rule = StopRule(Sampling(max_new_tokens=9, stop_strings=("END",)), eos_token_ids=(), decode=counting)
    rule.is_met(list(b"x" * 10_000))

    assert max(seen) < 40


def test_a_stop_string_without_a_tokenizer_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidRequestError, match="stop_token_ids"):
        StopRule(Sampling(max_new_tokens=1, stop_strings=("x",)), eos_token_ids=(), decode=None)
