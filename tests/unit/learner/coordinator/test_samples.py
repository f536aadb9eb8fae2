import numpy as np
import pytest

from tetrad_learner.coordinator.samples import content_digest, from_payload, ordered, to_journal, to_payload
from tetrad_testing.builders import a_lease, a_sample
from tetrad_wire import Message, encode
from tetrad_wire.codec import pack
from tetrad_wire.ids import Draw, Incarnation, Token


@pytest.mark.parametrize(
    "change",
    [
        {"token": Token(99)},
        {"nonce": "another"},
        {"incarnation": Incarnation("another")},
        {"seconds": 9.0},
        {"version": 2},
        {"response": "other words"},
    ],
)
def test_who_made_a_sample_does_not_change_its_digest(change) -> None:
    assert content_digest(a_sample(**change)) == content_digest(a_sample())


@pytest.mark.parametrize("change", [{"reward": 0.5}, {"num_sampled": 5}, {"prompt_length": 2}])
def test_what_is_trained_on_changes_the_digest(change) -> None:
    assert content_digest(a_sample(**change)) != content_digest(a_sample())


@pytest.mark.parametrize("name", ["token_ids", "rollout_logprobs", "reward_values", "reward_positions"])
def test_one_bit_of_an_array_changes_the_digest(name: str) -> None:
    array = getattr(a_sample(), name).copy()
    array.view(np.uint8)[0] ^= 2

    assert content_digest(a_sample(**{name: array})) != content_digest(a_sample())


def test_a_payload_gives_the_sample_back() -> None:
    sample = a_sample(num_sampled=7, reward=0.25)

    back = from_payload(to_payload(sample))

    assert content_digest(back) == content_digest(sample)
    assert (back.token, back.draw, back.spans, back.metrics) == (
        sample.token,
        sample.draw,
        sample.spans,
        sample.metrics,
    )


def test_a_payload_of_something_else_is_refused() -> None:
    payload = pack([bytes(frame) for frame in encode(Message(body=a_lease()))])

    with pytest.raises(TypeError, match="the inbox holds a LeaseGranted"):
        from_payload(payload)


def test_a_row_of_the_journal_has_everything_but_the_secrets_of_the_lease() -> None:
    sample = a_sample(reward=0.75)

    row = to_journal(sample)

    assert row.reward == 0.75
    assert row.token_ids.tolist() == sample.token_ids.tolist()
    assert row.spans == sample.spans
    assert not hasattr(row, "nonce")


def test_samples_are_ordered_by_identity_not_by_arrival() -> None:
    arrived = [(9, 0), (2, 1), (9, 1), (2, 0)]
    rows = [to_journal(a_sample(draw=Draw(draw), index=index)) for draw, index in arrived]

    assert [(row.draw, row.index) for row in ordered(rows)] == sorted(arrived)
