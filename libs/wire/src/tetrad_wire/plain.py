"""What a header may be made of: maps with text keys, arrays, text, bytes, 64-bit integers, floats, booleans, nil.

Narrower than msgpack, so that every language and the ledger's columns can hold each value.
"""

from typing import Final

MIN_INTEGER: Final = -(1 << 63)
MAX_INTEGER: Final = (1 << 63) - 1

_LEAVES: Final = frozenset({str, bytes, float, bool, type(None)})
_TEXT: Final = frozenset({str})
_CONTAINERS: Final = frozenset({dict, list, tuple})

# First bytes of msgpack values: maps and arrays, and those that a plain value needs a closer look for (binary, which
# may be a key; extensions; unsigned 64-bit integers). Inside of text or numbers they mean nothing, and cost a look.
_OPENING: Final = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
_SUSPECT: Final = bytes([*range(0xC4, 0xCA), 0xCF, *range(0xD4, 0xD9)])
_HARMLESS: Final = bytes(set(range(256)) - set(_OPENING) - set(_SUSPECT))


def may_be_odd(packed: bytes | memoryview, *, max_depth: int) -> bool:
    r"""Whether `why_not_plain` could object to what is packed here; a quick look that clears most messages.

    >>> may_be_odd(b"\x81\xa1a\x01", max_depth=2)
    False
    >>> may_be_odd(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", max_depth=2)
    True
    """
    telling = bytes(packed).translate(None, _HARMLESS)
    return len(telling) > max_depth or bool(telling.translate(None, _OPENING))


def why_not_plain(value: object, *, max_depth: int) -> str | None:
    """Return what is wrong with `value`, or None.

    >>> why_not_plain({"a": [1, 2.0, None]}, max_depth=2)
    >>> why_not_plain({"a": [1 << 63]}, max_depth=2)
    'integer 9223372036854775808 does not fit 64 bits with its sign'
    >>> why_not_plain([[[]]], max_depth=2)
    'nests deeper than 2'
    """
    # Level by level, not by recursion: this runs for every message, and calls would be most of its cost.
    level: list[object] = [value]
    depth = 0
    while level:
        deeper: list[object] = []
        is_deepest = depth == max_depth
        for node in level:
            if type(node) in _LEAVES:
                continue
            if type(node) is int:
                if not MIN_INTEGER <= node <= MAX_INTEGER:
                    return f"integer {node} does not fit 64 bits with its sign"
            elif type(node) not in _CONTAINERS:
                return f"{type(node).__name__} is no plain value"
            elif is_deepest:
                return f"nests deeper than {max_depth}"
            elif isinstance(node, dict):
                if not _TEXT.issuperset(map(type, node)):
                    return "a map has a key that is no text"
                deeper += node.values()
            else:
                deeper += node  # type: ignore[arg-type]  # a list or a tuple
        level = deeper
        depth += 1
    return None
