"""Whatever a peer sends, `decode` gives a message or a RemoteProtocolError that names the broken rule."""

from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from msgspec import NODEFAULT

from tetrad_testing.golden import golden_message
from tetrad_wire import Limits, Message, RemoteProtocolError, decode, encode
from tetrad_wire.catalog import CLASSES
from tetrad_wire.errors import Violation

Frames = list[bytes]

# What the rest of the golden message calls for, although the field has a default.
CALLED_FOR = {("episode_stepped", "reward"), ("version_offered", "segment")}

FIELDS = [(kind, name) for kind in CLASSES for name in CLASSES[kind].__struct_fields__]


def frames_of(kind: str) -> Frames:
    return [bytes(frame) for frame in encode(golden_message(kind))]


def changed(kind: str, /, **header: Any) -> Frames:
    """Frames of a legal message with some fields of its header replaced."""
    first, *buffers = frames_of(kind)
    return [msgpack.packb(msgpack.unpackb(first) | header), *buffers]


def with_body(kind: str, /, **body: Any) -> Frames:
    """Frames of a legal message with some fields of its body replaced."""
    return changed(kind, body=msgpack.unpackb(frames_of(kind)[0])["body"] | body)


def with_lease(**fields: Any) -> Frames:
    """Frames of a heartbeat whose one lease has other fields too."""
    return with_body("heartbeat", leases=[{"token": 5, "progress": 17} | fields])


def without(kind: str, name: str) -> Frames:
    first, *buffers = frames_of(kind)
    header = msgpack.unpackb(first)
    del header["body"][name]
    return [msgpack.packb(header), *buffers]


def with_array(kind: str, name: str, array: np.ndarray) -> Frames:
    """Frames of a message whose array field holds what no sender of ours would put there."""
    frames = frames_of(kind)
    header = msgpack.unpackb(frames[0])
    position = header["body"][name]
    header["buffers"][position] = {"dtype": array.dtype.name, "shape": list(array.shape)}
    frames[1 + position] = array.tobytes()
    return [msgpack.packb(header), *frames[1:]]


def taken(frames: Frames) -> Message | None:
    """The message, or None if the receiver found a field of it wrong."""
    try:
        return decode(frames)
    except RemoteProtocolError as error:
        if error.violation is not Violation.SCHEMA:
            raise
        return None


def violation(frames: Frames, **limits: int) -> Violation:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(frames, limits=Limits(**limits))
    return caught.value.violation


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x01"


BAD_HEADERS: dict[str, tuple[Frames, Violation]] = {
    "no_frames": ([], Violation.SYNTAX),
    "an_empty_header": ([b""], Violation.SYNTAX),
    "a_byte_that_msgpack_never_uses": ([b"\xc1"], Violation.SYNTAX),
    "a_cut_header": ([frames_of("hello")[0][:-1]], Violation.SYNTAX),
    "trailing_bytes": ([frames_of("hello")[0] + b"\x00"], Violation.SYNTAX),
    "text_that_is_not_utf8": ([b"\xa2\xff\xff"], Violation.SYNTAX),
    "a_list_longer_than_the_frame": ([b"\xdd\xff\xff\xff\xff"], Violation.SYNTAX),
    "a_map_longer_than_the_frame": ([b"\xdf\xff\xff\xff\xff"], Violation.SYNTAX),
    "text_longer_than_the_frame": ([b"\xdb\xff\xff\xff\xff"], Violation.SYNTAX),
    "an_extension_type": ([msgpack.packb(msgpack.ExtType(5, b"x"))], Violation.SYNTAX),
    "a_timestamp": ([msgpack.packb(msgpack.Timestamp(1, 0))], Violation.SYNTAX),
    "a_malformed_timestamp": ([b"\xc7\x03\xff123"], Violation.SYNTAX),
    "a_timestamp_in_a_free_form_field": (
        with_body("open_episodes", extras={"when": msgpack.Timestamp(1, 0)}),
        Violation.SYNTAX,
    ),
    "an_extension_in_a_free_form_field": (
        with_body("open_episodes", extras={"what": msgpack.ExtType(1, b"cos\nsystem")}),
        Violation.SYNTAX,
    ),
    "integer_keys": ([msgpack.packb({1: 2})], Violation.SYNTAX),
    "bytes_keys": ([msgpack.packb({b"v": 1})], Violation.SYNTAX),
    "nesting_above_our_limit": ([nested(33)], Violation.SYNTAX),
    "nesting_above_msgpacks_limit": ([nested(100_000)], Violation.SYNTAX),
    "nesting_in_a_free_form_field": (
        [frames_of("bye")[0].replace(b"\xa7drained", nested(100))],
        Violation.SYNTAX,
    ),
    "an_integer_above_64_bits_with_sign": (with_body("step_episode", turn=2**64 - 1), Violation.SYNTAX),
    "a_header_that_is_a_list": ([msgpack.packb([1, "hello"])], Violation.SCHEMA),
    "a_header_that_is_nil": ([b"\xc0"], Violation.SCHEMA),
    "a_header_that_is_text": ([msgpack.packb("hello")], Violation.SCHEMA),
    "an_empty_map": ([b"\x80"], Violation.SCHEMA),
    "a_body_that_is_a_list": (changed("hello", body=[]), Violation.SCHEMA),
    "a_kind_that_is_a_number": (changed("hello", kind=7), Violation.SCHEMA),
    "an_id_that_is_text": (changed("hello", id="7"), Violation.SCHEMA),
    "a_run_that_is_nil": (changed("hello", run=None), Violation.SCHEMA),
    "a_version_that_is_text": (changed("hello", v="1"), Violation.SCHEMA),
    "a_newer_version": (changed("hello", v=2), Violation.VERSION),
    "version_zero": (changed("hello", v=0), Violation.VERSION),
    "a_newer_version_of_another_shape": ([msgpack.packb({"v": 2, "what": "ever"})], Violation.VERSION),
    "an_unknown_kind": (changed("hello", kind="goodbye"), Violation.KIND),
    "a_kind_with_a_very_long_name": (changed("hello", kind="x" * 100_000), Violation.KIND),
}


@pytest.mark.parametrize(("frames", "expected"), BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_bad_header_is_refused_under_its_rule(frames, expected):
    assert violation(frames) is expected


def specs(*shapes: list[int], dtype: str = "int32") -> list[dict[str, Any]]:
    return [{"dtype": dtype, "shape": shape} for shape in shapes]


BAD_BUFFERS: dict[str, Frames] = {
    "one_frame_too_few": frames_of("sample_finished")[:-1],
    "one_frame_too_many": [*frames_of("sample_finished"), b""],
    "frames_of_a_kind_without_arrays": [*frames_of("hello"), b"xxxx"],
    "announced_but_not_sent": changed("hello", buffers=specs([1])),
    "a_byte_too_short": [*changed("bye", buffers=specs([1])), b"abc"],
    "a_byte_too_long": [*changed("bye", buffers=specs([1])), b"abcde"],
    "an_unknown_dtype": [*changed("bye", buffers=specs([1], dtype="object")), b"abcd"],
    "a_numpy_dtype_string": [*changed("bye", buffers=specs([1], dtype="<i4")), b"abcd"],
    "a_negative_extent": [*changed("bye", buffers=specs([-1])), b""],
    "two_negative_extents": [*changed("bye", buffers=specs([-1, -1])), b"abcd"],
    "an_extent_that_overflows": [*changed("bye", buffers=specs([2**62])), b"abcd"],
    "extents_that_overflow_together": [*changed("bye", buffers=specs([2**40, 2**40])), b""],
    "an_empty_array_with_a_huge_extent": [*changed("bye", buffers=specs([0, 2**62])), b""],
    "an_empty_array_with_two_huge_extents": [*changed("bye", buffers=specs([2**62, 0, 2**62])), b""],
    "more_axes_than_numpy_has": [*changed("bye", buffers=specs([1] * 100)), b"abcd"],
    "too_many_buffers": [*changed("bye", buffers=specs(*[[0]] * 65)), *[b""] * 65],
}


@pytest.mark.parametrize("frames", BAD_BUFFERS.values(), ids=BAD_BUFFERS)
def test_bad_buffers_are_refused_as_buffers(frames):
    assert violation(frames) is Violation.BUFFERS


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_header_bytes": 100}, Violation.OVERSIZE),
        ({"max_frame_bytes": 20}, Violation.OVERSIZE),
        ({"max_buffers": 4}, Violation.BUFFERS),
        ({"max_depth": 2}, Violation.SYNTAX),
    ],
    ids=["header", "frame", "buffers", "depth"],
)
def test_each_limit_is_kept_by_the_receiver(limits, expected):
    assert violation(frames_of("sample_finished"), **limits) is expected


def test_an_oversized_header_is_refused_before_it_is_read():
    assert violation([b"\xc1" * 101], max_header_bytes=100) is Violation.OVERSIZE


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_missing_field_is_refused_unless_it_has_a_default(kind, name):
    field = next(field for field in msgspec.structs.fields(CLASSES[kind]) if field.name == name)

    if field.required or (kind, name) in CALLED_FOR:
        assert violation(without(kind, name)) is Violation.SCHEMA
    else:
        assert (
            getattr(decode(without(kind, name)).body, name) == field.default or field.default_factory is not NODEFAULT
        )


@pytest.mark.parametrize("kind", CLASSES)
def test_unknown_fields_are_ignored(kind):
    first, *buffers = frames_of(kind)
    header = msgpack.unpackb(first)
    header["body"] |= {"of_a_later_version": [1, {"deep": None}]}

    arrived = decode([msgpack.packb(header | {"trace": "abc"}), *buffers])

    assert encode(arrived) == frames_of(kind)


def test_buffers_of_unknown_fields_are_ignored():
    first, *buffers = frames_of("bye")
    header = msgpack.unpackb(first)
    header["body"]["later"] = 0

    arrived = decode([msgpack.packb(header | {"buffers": specs([2])}), *buffers, b"12345678"])

    assert encode(arrived) == frames_of("bye")


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_of_a_wrong_type_never_gets_through(kind, name):
    for value in (b"\x00", [[[]]], 1.5, -1, "x", None, True, {"?": 1}):
        frames = with_body(kind, **{name: value})

        arrived = taken(frames)

        # Either it is refused as schema, or it is legal for this field and arrives as it was sent.
        assert arrived is None or msgpack.unpackb(encode(arrived)[0])["body"][name] == value


@pytest.mark.parametrize("value", [True, 5, -1, "0", None, [0], {}], ids=str)
def test_an_array_must_name_a_buffer_of_its_message(value):
    assert violation(with_body("sample_finished", token_ids=value)) is Violation.SCHEMA


NAN, INF = float("nan"), float("inf")

BAD_VALUES: dict[str, Callable[[], Frames]] = {
    "a_reward_that_is_nan": lambda: with_array("sample_finished", "reward_values", np.array([NAN], np.float32)),
    "a_reward_that_is_infinite": lambda: with_array("sample_finished", "reward_values", np.array([INF], np.float32)),
    "a_logprob_that_is_nan": lambda: with_array("sample_finished", "rollout_logprobs", np.full(7, NAN, np.float32)),
    "a_mask_that_counts": lambda: with_array("sample_finished", "loss_mask", np.array([0, 0, 0, 2, 2, 0, 0], np.uint8)),
    "a_mask_that_marks_the_prompt": lambda: with_array(
        "sample_finished", "loss_mask", np.array([1, 1, 1, 1, 0, 0, 0], np.uint8)
    ),
    "a_mask_of_another_length": lambda: with_array("sample_finished", "loss_mask", np.ones(6, np.uint8)),
    "tokens_of_another_dtype": lambda: with_array("sample_finished", "token_ids", np.arange(7, dtype=np.int64)),
    "tokens_in_two_dimensions": lambda: with_array("sample_finished", "token_ids", np.ones((7, 1), np.int32)),
    "tokens_without_a_dimension": lambda: with_array("sample_finished", "token_ids", np.array(7, np.int32)),
    "a_reward_after_the_last_token": lambda: with_array("sample_finished", "reward_positions", np.array([7], np.int32)),
    "a_reward_before_the_first_token": lambda: with_array(
        "sample_finished", "reward_positions", np.array([-1], np.int32)
    ),
    "more_rewards_than_positions": lambda: with_array("sample_finished", "reward_values", np.ones(2, np.float32)),
    "a_prompt_longer_than_its_sample": lambda: with_body("sample_finished", prompt_length=8),
    "a_sample_without_a_prompt": lambda: with_body("sample_finished", prompt_length=0),
    "spans_that_cover_too_little": lambda: with_body("sample_finished", spans=[{"version": 1, "length": 3}]),
    "a_span_of_negative_length": lambda: with_body(
        "sample_finished", spans=[{"version": 1, "length": 5}, {"version": 2, "length": -1}]
    ),
    "a_finish_reason_outside_the_set": lambda: with_body("sample_finished", finish_reason="bored"),
    "a_grade_that_is_nan": lambda: with_body("episode_stepped", reward=NAN),
    "a_grade_that_is_infinite": lambda: with_body("episode_stepped", reward=-INF),
    "an_ok_without_a_reward": lambda: with_body("episode_stepped", reward=None),
    "a_crash_with_a_reward": lambda: with_body("episode_stepped", outcome="crashed"),
    "fewer_seeds_than_samples": lambda: with_body("lease_granted", seeds=[1]),
    "fewer_seeds_than_episodes": lambda: with_body("open_episodes", seeds=[1]),
    "progress_of_no_lease": lambda: with_body("leases_renewed", progress=[1, 2, 3]),
    "a_lease_that_never_ends": lambda: with_body("lease_granted", hard_timeout_s=INF),
    "a_lease_that_has_ended": lambda: with_body("lease_granted", progress_timeout_s=0.0),
    "a_grading_of_no_turn": lambda: with_lease(grading={"num_turns": 0, "replica": "reward-0", "seconds": 1.0}),
    "a_grading_of_nan_seconds": lambda: with_lease(grading={"num_turns": 1, "replica": "reward-0", "seconds": NAN}),
    "a_weight_update_of_negative_age": lambda: with_body(
        "heartbeat", weights={"version": 1, "phase": "staging", "seconds": -1.0}
    ),
    "a_heartbeat_without_a_pause": lambda: with_body("desired", heartbeat_s=0),
    "a_heartbeat_that_is_nan": lambda: with_body("desired", heartbeat_s=NAN),
    "a_liveness_below_zero": lambda: with_body("desired", liveness_s=-1.0),
    "lengths_that_are_infinite": lambda: with_array("execute_step", "lengths", np.array([INF, INF], np.float32)),
    "lengths_that_cancel": lambda: with_array("execute_step", "lengths", np.array([13, -1], np.int32)),
    "lengths_that_do_not_sum_up": lambda: with_array("execute_step", "lengths", np.array([7, 6], np.int32)),
    "lengths_in_two_dimensions": lambda: with_array("execute_step", "lengths", np.array([[7, 5]], np.int32)),
    "a_sample_outside_the_batch": lambda: with_array("execute_step", "sample_index", np.array([0, 2], np.int32)),
    "a_batch_with_a_nan_reward": lambda: with_array("execute_step", "rewards", np.array([NAN, 0], np.float32)),
}


@pytest.mark.parametrize("frames", BAD_VALUES.values(), ids=BAD_VALUES)
def test_values_that_make_no_sense_are_refused_as_schema(frames):
    assert violation(frames()) is Violation.SCHEMA
