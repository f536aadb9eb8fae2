"""What a reward service must survive: frames that break the protocol are dropped, unanswered, and it serves on."""

from collections.abc import Sequence
from typing import Final

from tetrad_cli.conformance.site import RUN, BrokenRule, Row, Site
from tetrad_cli.conformance.talk import close, open_episodes, opened, step, stepped
from tetrad_transport.raw import RawSocket
from tetrad_wire import PROTOCOL_VERSION, Message, encode
from tetrad_wire.codec import pack, unpack
from tetrad_wire.limits import DEFAULT_LIMITS

CUT_S: Final = 15.0

Header = dict[str, object]


def ignores_unknown_fields(site: Site, row: Row) -> None:
    """Ignores fields that it does not know, in the header and in the body."""
    header = _header(site, row)
    body = {**_body(header), "colour": "green", "nested": {"a": [1, 2.5, None]}}
    site.throw([pack({**header, "shade": 7, "body": body})])
    site.until(lambda: site.has_answered(_id(header)), "an answer to a message with more fields", timeout_s=15.0)


def drops_incomplete_messages(site: Site, row: Row) -> None:
    """Drops a message that lacks a field without a default, or has one of another type."""
    header = _header(site, row)
    without = {name: value for name, value in _body(header).items() if name != "env_class"}
    mistyped = {**_body(header), "episodes": "one"}
    seedless = {**_body(header), "seeds": []}
    _all_dropped(site, row, [[pack(_numbered(site, header, body=body))] for body in (without, mistyped, seedless)])


def drops_foreign_messages(site: Site, row: Row) -> None:
    """Drops messages of another run, of another protocol version, and of kinds that the protocol does not have."""
    header = _header(site, row)
    changes: tuple[Header, ...] = ({"run": "another-run"}, {"v": PROTOCOL_VERSION + 1}, {"kind": "open_sesame"})
    _all_dropped(site, row, [[pack(_numbered(site, header, **change))] for change in changes])


def drops_malformed_frames(site: Site, row: Row) -> None:
    """Drops what is no msgpack, no map, cut off, or not as many frames as it says."""
    header = _header(site, row)
    whole = pack(_numbered(site, header))
    announced = pack(_numbered(site, header, buffers=[{"dtype": "int32", "shape": [3]}] * 3))
    frames: tuple[list[bytes], ...] = (
        [b""],
        [b"\xc1" * 50],
        [b"\xdd\xff\xff\xff\xff"],
        [b"\xc7\x05hello"],
        [pack([PROTOCOL_VERSION, "open_episodes"])],
        [whole[: len(whole) // 2]],
        [whole + b"\x00"],
        [whole, b"a buffer that nobody announced"],
        [announced],
        [b"\x91" * 100_000 + b"\x01"],
    )
    _all_dropped(site, row, frames)


def drops_deep_messages(site: Site, row: Row) -> None:
    """Drops a header that nests deeper than the limit."""
    # By hand: our own packer refuses it.
    depth = DEFAULT_LIMITS.max_depth + 8
    header = _numbered(site, _header(site, row))
    header["body"] = {**_body(header), "extras": {"deep": "DEEP"}}
    deep = b"\x91" * depth + b"\x01"
    _all_dropped(site, row, [[pack(header).replace(pack("DEEP"), deep)]])


def drops_oversized_messages(site: Site, row: Row) -> None:
    """Drops a message with too large a header or too many frames."""
    header = _numbered(site, _header(site, row))
    long = {**_body(header), "extras": {"text": "x" * DEFAULT_LIMITS.max_header_bytes}}
    many = {"buffers": [{"dtype": "uint8", "shape": [1]}] * (DEFAULT_LIMITS.max_buffers + 1)}
    crowd = [pack({**_numbered(site, header), **many}), *[b"x"] * (DEFAULT_LIMITS.max_buffers + 1)]
    _all_dropped(site, row, [[pack({**header, "body": long})], crowd])


def cuts_oversized_frames(site: Site, row: Row) -> None:
    """Ends the connection of a peer that sends a frame above the limit, and serves the others."""
    giant = RawSocket.dealer(site.endpoint, name="giant")
    try:
        is_cut = giant.is_cut_by([pack({"v": 1}), bytes(DEFAULT_LIMITS.max_frame_bytes + 1)], timeout_s=CUT_S)
    finally:
        giant.close()
    if not is_cut:
        raise BrokenRule(
            expected=f"a connection with a frame above {DEFAULT_LIMITS.max_frame_bytes} bytes to end",
            got="it stayed open; set MAXMSGSIZE",
        )
    _serves(site, row)


def _all_dropped(site: Site, row: Row, messages: Sequence[Sequence[bytes]]) -> None:
    """Throw each and see that the service still serves, and has answered none of them."""
    for frames in messages:
        site.throw(frames)
        _serves(site, row)
    wrong = [number for number in site.dropped if site.has_answered(number)]
    site.dropped.clear()
    if wrong:
        raise BrokenRule(expected="no answer to a message that breaks a rule", got=f"an answer to {len(wrong)} of them")


def _serves(site: Site, row: Row) -> None:
    (episode,) = opened(site, open_episodes(row, 1))
    stepped(site, step(episode, 0, row.action))
    site.send(close(episode))


def _header(site: Site, row: Row) -> Header:
    message = Message(body=open_episodes(row, 1), id=site.next_id(), run=RUN, epoch=site.epoch)
    header: Header = unpack(bytes(encode(message)[0]))
    return header


def _numbered(site: Site, header: Header, **changes: object) -> Header:
    """The message under an id of its own that no answer may name, about an episode of its own."""
    number = site.next_id()
    site.dropped.add(number)
    body = {**_body(header), "episodes": [f"dropped-{site.endpoint}-{number}"]}
    return {**header, "id": number, "body": body, **changes}


def _body(header: Header) -> Header:
    body = header["body"]
    assert isinstance(body, dict), "every header has a body"
    return body


def _id(header: Header) -> int:
    number = header["id"]
    assert isinstance(number, int), "every header has an id"
    return number
