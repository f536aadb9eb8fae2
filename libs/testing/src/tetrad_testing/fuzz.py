"""Throws what no peer of ours would send at a bound socket: a service must count it, drop it and carry on.

Works below our transport, on raw sockets, and never sends anything that decodes: what is thrown has no meaning.
"""

import random
import socket as stream
from collections import Counter
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import zmq

from tetrad_testing.golden import golden_message
from tetrad_wire import PROTOCOL_VERSION, RemoteProtocolError, decode, encode
from tetrad_wire.catalog import CLASSES
from tetrad_wire.codec import pack, unpack
from tetrad_wire.limits import DEFAULT_LIMITS

Frames = list[bytes]

# Each wait on the thrown-at service ends here.
DEADLINE_MS: Final = 5000
# A stream that is no ZeroMQ at all, one in so many throws.
NOISE_EVERY: Final = 50


def throw_garbage(endpoint: str, count: int, seed: int) -> Counter[str]:
    """Throw `count` pieces of garbage at an ipc or tcp endpoint; return how many of each sort.

    Blocks for as long as the service takes to read them; raises zmq.Again if it does not read within 5 s. The same
    seed throws the same. Beside the `count`, one frame above the size limit of libzmq is thrown on a connection of
    its own, which the service must cut.
    """
    rng = random.Random(seed)
    thrown: Counter[str] = Counter(oversized_frame=1)
    throw_oversized(endpoint)
    context = zmq.Context()
    try:
        dealers = [_dealer(context, endpoint) for _ in range(3)]
        for number in range(count):
            if number % NOISE_EVERY == 0:
                throw_noise(endpoint, rng)
                thrown["noise"] += 1
                continue
            sort = rng.choice(list(SORTS))
            rng.choice(dealers).send_multipart(SORTS[sort](rng))
            thrown[sort] += 1
    finally:
        context.destroy(linger=DEADLINE_MS)
    return thrown


def throw_oversized(
    endpoint: str, num_bytes: int = DEFAULT_LIMITS.max_frame_bytes + 1, deadline_ms: int = DEADLINE_MS
) -> None:
    """Send one frame above the limit; raise TimeoutError unless the service cuts the connection."""
    context = zmq.Context()
    try:
        dealer = _dealer(context, endpoint)
        monitor = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        dealer.send_multipart([pack({"v": PROTOCOL_VERSION}), bytes(num_bytes)])
        if not monitor.poll(deadline_ms):
            raise TimeoutError(f"{endpoint} has not cut a peer that sent a frame of {num_bytes} bytes")
        dealer.disable_monitor()
    finally:
        context.destroy(linger=0)


def throw_noise(endpoint: str, rng: random.Random) -> None:
    """Open a stream to the endpoint, say something that is no ZeroMQ, and hang up."""
    noise = rng.choice([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", rng.randbytes(200), b""])
    scheme, _, rest = endpoint.partition("://")
    if scheme == "ipc":
        family, address = stream.AF_UNIX, rest
        with stream.socket(family) as connection:
            connection.connect(address)
            connection.sendall(noise)
    else:
        parts = urlsplit(endpoint)
        with stream.create_connection((parts.hostname, parts.port), timeout=DEADLINE_MS / 1000) as connection:
            connection.sendall(noise)


def damaged(rng: random.Random) -> Frames:
    """A legal message after a few accidents: bytes and frames changed, put in, taken out, cut and swapped.

    It may still be legal.
    """
    frames = list(_legal(rng))
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(len(frames))
        frames[position] = rng.choice(_ACCIDENTS)(frames[position], rng)
        if rng.random() < 0.1:
            frames.insert(position, frames[position])
    return frames


def _dealer(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> "zmq.Socket[bytes]":
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.SNDTIMEO, DEADLINE_MS)
    dealer.connect(endpoint)
    return dealer


def _legal(rng: random.Random) -> Frames:
    kind = rng.choice(list(CLASSES))
    return [bytes(frame) for frame in encode(golden_message(kind))]


def _is_legal(frames: Frames) -> bool:
    try:
        decode(frames)
    except RemoteProtocolError:
        return False
    return True


def _damaged_beyond_repair(rng: random.Random) -> Frames:
    while _is_legal(frames := damaged(rng)):
        pass
    return frames


def _with_header(rng: random.Random, **changes: object) -> Frames:
    first, *buffers = _legal(rng)
    return [pack(unpack(first) | changes), *buffers]


def _truncated(rng: random.Random) -> Frames:
    first, *buffers = _legal(rng)
    return [first[: rng.randrange(len(first))], *buffers]


def _flip(frame: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(frame) + 1)
    return frame[:at] + rng.randbytes(1) + frame[at + 1 :]


def _insert(frame: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(frame) + 1)
    return frame[:at] + rng.randbytes(rng.randint(1, 9)) + frame[at:]


def _remove(frame: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(frame) + 1)
    return frame[:at] + frame[at + rng.randint(1, 9) :]


def _cut(frame: bytes, rng: random.Random) -> bytes:
    return frame[: rng.randrange(len(frame) + 1)]


def _swap(_frame: bytes, rng: random.Random) -> bytes:
    return rng.choice(_legal(rng))


_ACCIDENTS: Final[list[Callable[[bytes, random.Random], bytes]]] = [_flip, _insert, _remove, _cut, _swap]

SORTS: Final[dict[str, Callable[[random.Random], Frames]]] = {
    "random_bytes": lambda rng: [rng.randbytes(rng.randrange(1, 200)) for _ in range(rng.randint(1, 5))],
    "empty": lambda _rng: [b""],
    "truncated": _truncated,
    "damaged": _damaged_beyond_repair,
    "wrong_version": lambda rng: _with_header(rng, v=PROTOCOL_VERSION + rng.randint(1, 9)),
    "unknown_kind": lambda rng: _with_header(rng, kind=f"kind_{rng.random()}"),
    "no_map": lambda rng: [pack([PROTOCOL_VERSION, rng.random()])],
    "missing_buffers": lambda rng: _with_header(rng, buffers=[{"dtype": "int32", "shape": [3]}] * 7),
    "too_many_frames": lambda rng: [*_legal(rng), *[b""] * (DEFAULT_LIMITS.max_buffers + rng.randint(1, 500))],
    "deep_nesting": lambda rng: [b"\x91" * rng.choice([33, 600, 100_000]) + b"\x01"],
    "huge_list": lambda _rng: [b"\xdd\xff\xff\xff\xff"],
    "extension_type": lambda rng: [b"\xc7\x05" + rng.randbytes(6)],
}
