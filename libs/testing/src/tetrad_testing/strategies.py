"""Hypothesis strategies: `bodies(cls)` for each message class of the catalogue, `messages()` for whole messages.

Fields are drawn from their annotations; the few classes whose fields must agree with each other say how below.
"""

from collections.abc import Callable, Container, Mapping
from enum import StrEnum
from types import UnionType
from typing import Any, Final, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrad_wire import Message
from tetrad_wire.catalog import CLASSES
from tetrad_wire.messages.episodes import EpisodeStepped, GradeOutcome, OpenEpisodes
from tetrad_wire.messages.groups import LinkEchoed, TestLink
from tetrad_wire.messages.leases import LeaseGranted, LeasesRenewed, SampleFinished, VersionSpan
from tetrad_wire.messages.membership import Desired, Grading, WeightProgress
from tetrad_wire.messages.steps import ExecuteStep, StepCredited
from tetrad_wire.messages.weights import (
    MAX_CHUNK_BYTES,
    DeviceHandle,
    PullChunk,
    PullVersion,
    SegmentHandle,
    VersionChunk,
    VersionOffered,
    WeightTransport,
)
from tetrad_wire.plain import MAX_INTEGER, MIN_INTEGER
from tetrad_wire.scores import MAX_SCORES

Body = TypeVar("Body", bound=msgspec.Struct)
Fields = Mapping[str, st.SearchStrategy[Any]]

MAX_ITEMS: Final = 4
INTEGERS: Final = st.integers(MIN_INTEGER, MAX_INTEGER)
POSITIVE: Final = st.floats(1e-3, 1e6)
AGES: Final = st.floats(0.0, 1e6)
FINITE: Final = st.floats(-1e3, 1e3, width=32)
SCORES: Final = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True), FINITE, max_size=MAX_SCORES)
LEAVES: Final = st.none() | st.booleans() | INTEGERS | st.floats() | st.text() | st.binary()
FREE_FORM: Final = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=MAX_ITEMS) | st.dictionaries(st.text(), inner, max_size=MAX_ITEMS),
    max_leaves=8,
)


def messages() -> st.SearchStrategy[Message]:
    """A message of any kind in any envelope."""
    return st.builds(
        Message,
        body=st.sampled_from(list(CLASSES.values())).flatmap(bodies),
        id=INTEGERS,
        reply_to=st.none() | INTEGERS,
        run=st.text(),
        epoch=INTEGERS,
    )


def bodies(cls: type[Body]) -> st.SearchStrategy[Body]:
    """Legal messages of one class."""
    agree = _AGREEMENTS.get(cls)
    if agree is None:
        return st.builds(cls, **_fields(cls))
    return st.composite(agree)().flatmap(lambda agreed: _complete(cls, agreed))


def arrays(dtype: str, size: int, elements: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[Any]:
    """One-dimensional arrays of `size` elements."""
    return hnp.arrays(np.dtype(dtype), size, elements=elements)


def _complete(cls: type[Body], agreed: dict[str, Any]) -> st.SearchStrategy[Body]:
    free = _fields(cls, without=agreed)
    return st.builds(cls, **free, **{name: st.just(value) for name, value in agreed.items()})


def _fields(cls: type[msgspec.Struct], *, without: Container[str] = ()) -> Fields:
    hints = get_type_hints(cls)
    return {name: _of_type(hints[name]) for name in cls.__struct_fields__ if name not in without}


def _of_type(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, NewType):
        return _of_type(hint.__supertype__)
    if get_origin(hint) is tuple:
        return st.lists(_of_type(get_args(hint)[0]), max_size=MAX_ITEMS).map(tuple)
    if get_origin(hint) is dict:
        return st.dictionaries(st.text(), _of_type(get_args(hint)[1]), max_size=MAX_ITEMS)
    # A NewType joined with None is of the older kind.
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        return st.one_of(*(_of_type(kind) for kind in get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return st.deferred(lambda: bodies(hint))
    return _BY_TYPE[hint]


def _agree_lease(draw: Callable[..., Any]) -> dict[str, Any]:
    indices = draw(st.lists(INTEGERS, max_size=MAX_ITEMS))
    seeds = draw(st.lists(INTEGERS, min_size=len(indices), max_size=len(indices)))
    return {
        "indices": tuple(indices),
        "seeds": tuple(seeds),
        "progress_timeout_s": draw(POSITIVE),
        "hard_timeout_s": draw(POSITIVE),
    }


def _agree_renewal(draw: Callable[..., Any]) -> dict[str, Any]:
    pairs = draw(st.lists(st.tuples(INTEGERS, INTEGERS), max_size=MAX_ITEMS))
    return {"tokens": tuple(token for token, _ in pairs), "progress": tuple(count for _, count in pairs)}


def _agree_opening(draw: Callable[..., Any]) -> dict[str, Any]:
    pairs = draw(st.lists(st.tuples(st.text(), INTEGERS), max_size=MAX_ITEMS))
    return {"episodes": tuple(episode for episode, _ in pairs), "seeds": tuple(seed for _, seed in pairs)}


def _agree_grade(draw: Callable[..., Any]) -> dict[str, Any]:
    outcome = draw(st.sampled_from(GradeOutcome))
    reward = draw(FINITE) if outcome is GradeOutcome.OK else None
    return {"outcome": outcome, "reward": reward, "scores": draw(SCORES)}


def _agree_desired(draw: Callable[..., Any]) -> dict[str, Any]:
    return {"heartbeat_s": draw(POSITIVE), "liveness_s": draw(POSITIVE)}


def _agree_grading(draw: Callable[..., Any]) -> dict[str, Any]:
    return {"num_turns": draw(st.integers(1, MAX_INTEGER)), "seconds": draw(AGES)}


def _agree_weight_progress(draw: Callable[..., Any]) -> dict[str, Any]:
    return {"seconds": draw(AGES)}


def _agree_sample(draw: Callable[..., Any]) -> dict[str, Any]:
    prompt_length, rest = draw(st.integers(1, 8)), draw(st.integers(0, 8))
    length = prompt_length + rest
    tail = draw(arrays("uint8", rest, st.integers(0, 1)))
    num_turns = draw(st.integers(0, 3))
    num_sampled = int(tail.sum())
    cut = draw(st.integers(0, num_sampled))
    return {
        "prompt_length": prompt_length,
        "token_ids": draw(arrays("int32", length)),
        "loss_mask": np.concatenate([np.zeros(prompt_length, np.uint8), tail]),
        "rollout_logprobs": draw(arrays("float32", length, FINITE)),
        "reward_positions": draw(arrays("int32", num_turns, st.integers(0, length - 1))),
        "reward_values": draw(arrays("float32", num_turns, FINITE)),
        "spans": tuple(VersionSpan(draw(INTEGERS), part) for part in (cut, num_sampled - cut) if part),
        "scores": draw(SCORES),
    }


def _agree_step(draw: Callable[..., Any]) -> dict[str, Any]:
    num_samples, num_others = draw(st.integers(0, MAX_ITEMS)), draw(st.integers(0, MAX_ITEMS))
    num_all = num_samples + num_others
    lengths = draw(arrays("int32", num_samples, st.integers(0, 8)))
    num_tokens = int(lengths.sum())
    return {
        "lengths": lengths,
        "token_ids": draw(arrays("int32", num_tokens)),
        "loss_mask": draw(arrays("uint8", num_tokens, st.integers(0, 1))),
        "rollout_logprobs": draw(arrays("float32", num_tokens, FINITE)),
        "sample_index": draw(arrays("int32", num_samples, st.integers(0, max(num_all - 1, 0)))),
        "mini_batch": draw(arrays("int32", num_samples)),
        "rewards": draw(arrays("float32", num_all, FINITE)),
        "groups": draw(arrays("int32", num_all)),
    }


def _agree_credit(draw: Callable[..., Any]) -> dict[str, Any]:
    num_samples = draw(st.integers(0, MAX_ITEMS))
    return {
        "sample_index": draw(arrays("int32", num_samples, st.integers(0, 2**31 - 1))),
        "advantages": draw(arrays("float32", num_samples)),
    }


def _agree_pull(draw: Callable[..., Any]) -> dict[str, Any]:
    return {"transports": tuple(draw(st.lists(st.sampled_from(WeightTransport), min_size=1, max_size=MAX_ITEMS)))}


def _agree_offer(draw: Callable[..., Any]) -> dict[str, Any]:
    transport = draw(st.sampled_from(WeightTransport))
    segments = bodies(SegmentHandle)
    return {
        "transport": transport,
        "segment": draw(segments if transport is WeightTransport.SHARED_MEMORY else st.none() | segments),
        "device": draw(bodies(DeviceHandle) if transport is WeightTransport.CUDA_IPC else st.none()),
        "group": draw(st.text(min_size=1) if transport is WeightTransport.NCCL else st.just("")),
    }


def _agree_chunk_pull(draw: Callable[..., Any]) -> dict[str, Any]:
    return {"offset": draw(st.integers(0, MAX_INTEGER)), "num_bytes": draw(st.integers(1, MAX_CHUNK_BYTES))}


def _agree_chunk(draw: Callable[..., Any]) -> dict[str, Any]:
    return {"data": draw(arrays("uint8", draw(st.integers(0, 8))))}


_BY_TYPE: Final[dict[Any, st.SearchStrategy[Any]]] = {
    int: INTEGERS,
    float: st.floats(),
    str: st.text(),
    bytes: st.binary(),
    bool: st.booleans(),
    type(None): st.none(),
    object: FREE_FORM,
}

# Classes whose __post_init__ ties fields together.
_AGREEMENTS: Final[dict[type[msgspec.Struct], Callable[[Callable[..., Any]], dict[str, Any]]]] = {
    LeaseGranted: _agree_lease,
    LeasesRenewed: _agree_renewal,
    OpenEpisodes: _agree_opening,
    EpisodeStepped: _agree_grade,
    Desired: _agree_desired,
    Grading: _agree_grading,
    WeightProgress: _agree_weight_progress,
    SampleFinished: _agree_sample,
    ExecuteStep: _agree_step,
    StepCredited: _agree_credit,
    PullVersion: _agree_pull,
    VersionOffered: _agree_offer,
    PullChunk: _agree_chunk_pull,
    VersionChunk: _agree_chunk,
    TestLink: _agree_chunk,
    LinkEchoed: _agree_chunk,
}
