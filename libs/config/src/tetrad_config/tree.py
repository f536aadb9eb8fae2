"""Tree: nested mappings of the run file, addressed by dotted keys. Pure; knows no key by name."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from tetrad_config.section import DottedKey

Tree = dict[str, JsonValue]


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[DottedKey, JsonValue]]:
    """Yield every leaf with its dotted key; an empty mapping is a leaf."""
    for name, value in tree.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict) and value:
            yield from leaves(value, key)
        else:
            yield DottedKey(key), value


def lookup(tree: Tree, key: DottedKey) -> JsonValue:
    """Return the value at `key`, or None where there is none."""
    node: JsonValue = tree
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return None
        node = node[name]
    return node


def contains(tree: Tree, key: DottedKey) -> bool:
    """Tell whether something stands at `key`, null included."""
    head, _, name = key.rpartition(".")
    parent = lookup(tree, DottedKey(head)) if head else tree
    return isinstance(parent, dict) and name in parent


def placed(tree: Tree, key: DottedKey, value: JsonValue) -> Tree:
    """Return a copy of `tree` with `value` at `key`; a non-mapping in the way is replaced."""
    name, _, rest = key.partition(".")
    if not rest:
        return {**tree, name: value}
    below = tree.get(name)
    return {**tree, name: placed(below if isinstance(below, dict) else {}, DottedKey(rest), value)}


def without(tree: Tree, key: DottedKey) -> Tree:
    """Return a copy of `tree` without `key`; nothing happens where it is absent."""
    name, _, rest = key.partition(".")
    if not rest:
        return {k: v for k, v in tree.items() if k != name}
    below = tree.get(name)
    return {**tree, name: without(below, DottedKey(rest))} if isinstance(below, dict) else tree


def merged(lower: Tree, upper: Tree) -> Tree:
    """Return `lower` with `upper` on top: mappings merge, everything else (lists, null) replaces.

    >>> merged({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}})
    {'a': {'b': 1, 'c': [3]}}
    """
    result = dict(lower)
    for name, value in upper.items():
        below = result.get(name)
        both = isinstance(below, dict) and isinstance(value, dict)
        result[name] = merged(below, value) if both else value  # type: ignore[arg-type]  # `both` narrows them
    return result
