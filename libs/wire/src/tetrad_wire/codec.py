"""Messages to frames and back; the only importer of msgpack.

A field that holds a numpy array becomes the index of a frame of its own, little-endian, never copied.
Nothing that arrives is executed: msgpack with its limits on, no ext types, then msgspec's typed conversion.
What the peer would refuse is refused here first, so that a message is never lost without a word.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgpack
import msgspec
import numpy as np

from tetrad_wire.arrays import DTYPES, Array
from tetrad_wire.catalog import ARRAY_FIELDS, CLASSES, KINDS
from tetrad_wire.envelope import BufferSpec, Header, Message
from tetrad_wire.errors import LocalProtocolError, RemoteProtocolError, Violation
from tetrad_wire.limits import DEFAULT_LIMITS, Limits
from tetrad_wire.plain import may_be_odd, why_not_plain
from tetrad_wire.version import PROTOCOL_VERSION

Frame = bytes | memoryview

# msgpack has a type for them; msgspec alone would turn them into base64 text.
_AS_THEY_ARE: Final = (bytes, bytearray, memoryview)

# By numpy's own spelling, `<i4`: many times faster to ask for than the name.
_NAMES: Final = {dtype.str: name for name, dtype in DTYPES.items()}


def encode(message: Message, *, limits: Limits = DEFAULT_LIMITS) -> list[Frame]:
    """Turn a message into frames; raise LocalProtocolError if it breaks a limit or names no known kind."""
    body = message.body
    kind = KINDS.get(type(body))
    if kind is None:
        raise LocalProtocolError(f"{type(body).__name__} is no message of the catalogue")
    arrays: list[Array] = []
    header: dict[str, object] = {
        "v": PROTOCOL_VERSION,
        "kind": kind,
        "id": message.id,
        "run": message.run,
        "epoch": message.epoch,
        "body": _builtins(body, _lift_into(arrays, body)),
        "buffers": [{"dtype": _NAMES[array.dtype.str], "shape": array.shape} for array in arrays],
    }
    if message.reply_to is not None:
        header["reply_to"] = message.reply_to
    frames: list[Frame] = [_pack(header, limits), *map(_bytes_of, arrays)]
    _check_outgoing(frames, limits)
    return frames


def decode(frames: Sequence[Frame], *, limits: Limits = DEFAULT_LIMITS) -> Message:
    """Turn frames into a typed message; raise RemoteProtocolError on whatever is wrong with them.

    Arrays are read-only views of the frames.
    """
    _check_incoming(frames, limits)
    header = _header(frames[0], limits)
    cls = CLASSES.get(header.kind)
    if cls is None:
        raise RemoteProtocolError(Violation.KIND, f"unknown kind {header.kind[:64]!r}")
    arrays = _arrays(header.buffers, frames[1:])
    body = _convert(header.body, cls, arrays)
    return Message(body=body, id=header.id, reply_to=header.reply_to, run=header.run, epoch=header.epoch)


def pack(value: object, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Pack plain data or a Struct without arrays as msgpack; raise LocalProtocolError if it cannot be."""
    return _pack(_builtins(value, _refuse), limits)


def unpack(data: Frame, *, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Unpack one msgpack value; raise RemoteProtocolError if it is malformed, nests too deep or is not plain."""
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_no_ext)
    except (ValueError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        raise RemoteProtocolError(Violation.SYNTAX, f"{type(error).__name__}: {error}") from error
    max_depth = limits.max_depth
    reason = why_not_plain(value, max_depth=max_depth) if may_be_odd(data, max_depth=max_depth) else None
    if reason is not None:
        raise RemoteProtocolError(Violation.SYNTAX, reason)
    return value


def _pack(plain: object, limits: Limits) -> bytes:
    if (reason := why_not_plain(plain, max_depth=limits.max_depth)) is not None:
        raise LocalProtocolError(reason)
    try:
        packed: bytes = msgpack.packb(plain, use_bin_type=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise LocalProtocolError(f"{type(error).__name__}: {error}") from error
    return packed


def _builtins(value: object, lift: Callable[[object], int]) -> Any:
    try:
        return msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE, enc_hook=lift)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise LocalProtocolError(f"{type(value).__name__}: {error}") from error


def _lift_into(arrays: list[Array], body: msgspec.Struct) -> Callable[[object], int]:
    # An array anywhere else, such as in a row's extras, would arrive as the bare number of its buffer.
    liftable = {id(getattr(body, name)) for name in ARRAY_FIELDS[type(body)]}

    def lift(value: object) -> int:
        if not isinstance(value, np.ndarray) or id(value) not in liftable:
            return _refuse(value)
        arrays.append(_in_wire_order(value))
        return len(arrays) - 1

    return lift


def _in_wire_order(value: Array) -> Array:
    if value.dtype.str in _NAMES and value.flags.c_contiguous:
        return value
    dtype = DTYPES.get(value.dtype.name)
    if dtype is None:
        raise LocalProtocolError(f"arrays of {value.dtype} cannot ride in a message; use {', '.join(DTYPES)}")
    array = value.astype(dtype, order="C")
    array.flags.writeable = False  # our own copy: nobody changes it, so it may be sent without another
    return array


def _refuse(value: object) -> int:
    raise LocalProtocolError(f"{type(value).__name__} cannot ride here in a message; send plain values")


def _bytes_of(array: Array) -> Frame:
    return array.data.cast("B") if array.size else b""


def _header(frame: Frame, limits: Limits) -> Header:
    plain = unpack(frame, limits=limits)
    # Before the rest: another version may well have other fields.
    if isinstance(plain, dict) and type(v := plain.get("v")) is int and v != PROTOCOL_VERSION:
        raise RemoteProtocolError(Violation.VERSION, f"peer speaks {v}, we speak {PROTOCOL_VERSION}")
    try:
        return msgspec.convert(plain, Header)
    except msgspec.ValidationError as error:
        raise RemoteProtocolError(Violation.SCHEMA, f"header: {error}") from error


def _arrays(specs: Sequence[BufferSpec], frames: Sequence[Frame]) -> list[Array]:
    if len(specs) != len(frames):
        raise RemoteProtocolError(Violation.BUFFERS, f"{len(specs)} buffers announced, {len(frames)} sent")
    return [_array(spec, frame) for spec, frame in zip(specs, frames, strict=True)]


def _array(spec: BufferSpec, frame: Frame) -> Array:
    dtype = DTYPES.get(spec.dtype)
    if dtype is None or min(spec.shape, default=0) < 0:
        raise RemoteProtocolError(Violation.BUFFERS, f"illegal buffer {spec.dtype[:32]!r}{list(spec.shape)}")
    if math.prod(spec.shape) * dtype.itemsize != len(frame):
        raise RemoteProtocolError(Violation.BUFFERS, f"{spec.dtype}{list(spec.shape)} does not fill {len(frame)} bytes")
    # A frame of libzmq is writable memory, and whoever holds the message shares it.
    array = np.frombuffer(frame if isinstance(frame, bytes) else frame.toreadonly(), dtype=dtype)
    try:
        return array if len(spec.shape) == 1 else array.reshape(spec.shape)
    except ValueError as error:
        # More axes, or an empty array with longer ones, than numpy can hold.
        raise RemoteProtocolError(Violation.BUFFERS, f"{spec.dtype}{list(spec.shape)}: {error}") from error


def _convert(body: object, cls: type[msgspec.Struct], arrays: Sequence[Array]) -> msgspec.Struct:
    def place(kind: type, value: object) -> object:
        if kind is object:
            return value  # free-form, such as a row's extras: plain already
        if kind is not np.ndarray or type(value) is not int or not 0 <= value < len(arrays):
            raise ValueError(f"{value!r} is no buffer of this message")
        return arrays[value]

    try:
        return msgspec.convert(body, cls, dec_hook=place)
    except (msgspec.ValidationError, ValueError, OverflowError, RecursionError) as error:
        raise RemoteProtocolError(Violation.SCHEMA, f"{cls.__name__}: {error}") from error


def _check_incoming(frames: Sequence[Frame], limits: Limits) -> None:
    if not frames:
        raise RemoteProtocolError(Violation.SYNTAX, "a message without frames")
    if (reason := _why_too_large(frames, limits)) is not None:
        raise RemoteProtocolError(Violation.OVERSIZE, reason)
    if len(frames) - 1 > limits.max_buffers:
        raise RemoteProtocolError(Violation.BUFFERS, f"{len(frames) - 1} buffers; the limit is {limits.max_buffers}")


def _check_outgoing(frames: Sequence[Frame], limits: Limits) -> None:
    if (reason := _why_too_large(frames, limits)) is not None:
        raise LocalProtocolError(reason)
    if len(frames) - 1 > limits.max_buffers:
        raise LocalProtocolError(f"{len(frames) - 1} buffers; the limit is {limits.max_buffers}")


def _why_too_large(frames: Sequence[Frame], limits: Limits) -> str | None:
    if len(frames[0]) > limits.max_header_bytes:
        return f"header of {len(frames[0])} bytes; the limit is {limits.max_header_bytes}"
    largest = max(map(len, frames))
    if largest > limits.max_frame_bytes:
        return f"frame of {largest} bytes; the limit is {limits.max_frame_bytes}"
    return None


def _no_ext(code: int, _data: bytes) -> object:
    raise ValueError(f"extension type {code} is not part of the protocol")
