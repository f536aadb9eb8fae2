"""What a well-meant message survives, and what its sender is told before the peer could refuse it."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from tetrad_testing.builders import BUILDERS, a_lease, a_prompt, a_sample, a_step, a_turn, an_opening
from tetrad_testing.strategies import bodies, messages
from tetrad_wire import Limits, LocalProtocolError, Message, decode, encode
from tetrad_wire.catalog import CLASSES
from tetrad_wire.codec import pack, unpack


def sent(body: msgspec.Struct, **limits: int) -> list[bytes]:
    return [bytes(frame) for frame in encode(Message(body=body), limits=Limits(**limits))]


@given(messages())
@settings(max_examples=300, deadline=None)
def test_any_message_survives_the_wire(message):
    frames = [bytes(frame) for frame in encode(message)]

    arrived = decode(frames)

    assert type(arrived.body) is type(message.body)
    # Frames are compared, since NaN and arrays do not compare as fields.
    assert [bytes(frame) for frame in encode(arrived)] == frames


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_each_kind_survives_the_wire(cls):
    @given(bodies(cls))
    @settings(max_examples=15, deadline=None)
    def survives(body):
        assert sent(decode(sent(body)).body) == sent(body)

    survives()


@pytest.mark.parametrize("kind", CLASSES)
def test_the_envelope_survives_the_wire(kind):
    message = Message(body=BUILDERS[kind](), id=7, reply_to=3, run="run-2", epoch=5)

    arrived = decode(encode(message))

    assert (arrived.id, arrived.reply_to, arrived.run, arrived.epoch) == (7, 3, "run-2", 5)


def test_a_message_that_answers_nothing_has_no_reply_to():
    assert decode(encode(Message(body=a_turn()))).reply_to is None
    assert "reply_to" not in unpack(sent(a_turn())[0])


def test_arrays_arrive_bit_identical_and_read_only():
    logprobs = np.array([0.0, 0.0, 0.0, -0.0, -1e-45, -3.5, -1e38], dtype=np.float32)

    arrived = decode(encode(Message(body=a_sample(rollout_logprobs=logprobs)))).body

    assert arrived.rollout_logprobs.tobytes() == logprobs.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        arrived.rollout_logprobs[0] = 1.0


def test_arrays_of_writable_frames_are_read_only_too():
    frames = [memoryview(bytearray(frame)) for frame in encode(Message(body=a_sample()))]

    arrived = decode(frames).body

    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        arrived.token_ids.flags.writeable = True


def test_large_arrays_are_not_copied_on_either_side():
    body = a_step(lengths=[200_000])

    frames = encode(Message(body=body))
    arrived = decode(frames).body

    assert any(np.shares_memory(np.frombuffer(frame, np.uint8), body.token_ids) for frame in frames[1:])
    assert np.shares_memory(arrived.token_ids, body.token_ids)


@pytest.mark.parametrize("view", [lambda a: a[::2], lambda a: a[::-1]], ids=["strided", "reversed"])
def test_any_memory_layout_may_be_sent(view):
    token_ids = view(np.arange(14, dtype=np.int32))
    body = a_sample(prompt_length=3, num_sampled=len(token_ids) - 3, token_ids=token_ids)

    arrived = decode(sent(body)).body

    assert arrived.token_ids.tolist() == token_ids.tolist()
    assert arrived.token_ids.dtype == np.dtype("<i4")


def test_empty_arrays_survive():
    empty = {"reward_positions": np.zeros(0, np.int32), "reward_values": np.zeros(0, np.float32)}

    arrived = decode(sent(a_sample(num_sampled=0, **empty))).body

    assert (arrived.reward_positions.dtype, arrived.reward_positions.shape) == (np.dtype("<i4"), (0,))


def test_free_form_fields_arrive_as_they_were_sent():
    extras = {"n": 1, "x": 1.5, "t": "ü", "raw": b"\x00\xff", "none": None, "yes": True, "in": {"list": [1, [2]]}}

    arrived = decode(sent(a_lease(prompt=a_prompt(extras=extras)))).body

    assert arrived.prompt.extras == extras


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (np.zeros(3, np.int32), "ndarray cannot ride here"),
        (np.float32(1.5), "float32 cannot ride here"),
        (np.int64(3), "int64 cannot ride here"),
        (object(), "object cannot ride here"),
        (1 << 63, "integer 9223372036854775808 does not fit 64 bits with its sign"),
        ({1: "x"}, "a key that is no text"),
        ("\ud800", "surrogates not allowed"),
    ],
    ids=["array", "float32", "int64", "object", "big_integer", "integer_key", "lone_surrogate"],
)
def test_what_the_peer_would_refuse_is_refused_at_the_sender(extra, reason):
    with pytest.raises(LocalProtocolError, match=reason):
        encode(Message(body=an_opening(extras={"extra": extra})))


def test_nesting_too_deep_is_refused_at_the_sender():
    deep: object = 0
    for _ in range(40):
        deep = [deep]

    with pytest.raises(LocalProtocolError, match="nests deeper than 32"):
        encode(Message(body=an_opening(extras={"deep": deep})))


def test_nesting_without_end_is_refused_at_the_sender():
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(LocalProtocolError, match="recursion"):
        encode(Message(body=an_opening(extras={"endless": endless})))


def test_an_array_of_another_type_is_refused_at_the_sender():
    step = a_step()
    msgspec.structs.force_setattr(step, "groups", step.groups.astype(np.float16))

    with pytest.raises(LocalProtocolError, match="arrays of float16 cannot ride in a message; use int32"):
        encode(Message(body=step))


def test_a_class_outside_the_catalogue_is_refused_at_the_sender():
    with pytest.raises(LocalProtocolError, match="Prompt is no message of the catalogue"):
        encode(Message(body=a_prompt()))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_header_bytes": 100}, r"header of \d+ bytes; the limit is 100"),
        ({"max_frame_bytes": 1000}, "frame of 4012 bytes; the limit is 1000"),
        ({"max_buffers": 4}, "5 buffers; the limit is 4"),
        ({"max_depth": 2}, "nests deeper than 2"),
    ],
    ids=["header", "frame", "buffers", "depth"],
)
def test_each_limit_is_refused_at_the_sender_with_its_numbers(limits, reason):
    with pytest.raises(LocalProtocolError, match=reason):
        sent(a_sample(num_sampled=1000), **limits)


def test_plain_values_pack_and_unpack():
    value = {"a": [1, 2.5, None, True, b"x"], "b": {"c": "d"}}

    assert unpack(pack(value)) == value


def test_a_struct_packs_as_a_map():
    assert unpack(pack(a_turn())) == {"episode": "7.0.0", "turn": 0, "action": "95"}


def test_arrays_do_not_pack_without_buffers():
    with pytest.raises(LocalProtocolError, match="ndarray cannot ride here"):
        pack(a_sample())
