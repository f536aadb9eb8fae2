"""Finished samples: what is trained on, kept as bytes in the inbox, and as rows of the journal."""

import hashlib
from collections.abc import Sequence
from typing import Final

from tetrad_trajectories.journal import JournalSample
from tetrad_wire import Message, decode, encode
from tetrad_wire.codec import pack, unpack
from tetrad_wire.messages.leases import SampleFinished

JOURNALED: Final = tuple(
    name for name in SampleFinished.__struct_fields__ if name in JournalSample.__dataclass_fields__
)
"""What the journal keeps of a sample."""


def content_digest(sample: SampleFinished) -> str:
    """Over everything that is trained on: equal for a sample that was drawn again bit for bit."""
    digest = hashlib.blake2b(digest_size=16)
    rewards = (sample.reward_positions, sample.reward_values)
    for array in (sample.token_ids, sample.loss_mask, sample.rollout_logprobs, *rewards):
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(array.tobytes())
    return digest.hexdigest()


def to_payload(sample: SampleFinished) -> bytes:
    """The sample as one blob, in the wire's own encoding."""
    return pack([bytes(frame) for frame in encode(Message(body=sample))])


def from_payload(payload: bytes) -> SampleFinished:
    """The sample back from its blob."""
    body = decode(unpack(payload)).body
    if not isinstance(body, SampleFinished):
        raise TypeError(f"the inbox holds a {type(body).__name__}")
    return body


def to_journal(sample: SampleFinished) -> JournalSample:
    """The sample as a row of the journal."""
    return JournalSample(**{name: getattr(sample, name) for name in JOURNALED})


def ordered(samples: Sequence[JournalSample]) -> tuple[JournalSample, ...]:
    """By identity, never by arrival."""
    return tuple(sorted(samples, key=lambda sample: (sample.draw, sample.index)))
