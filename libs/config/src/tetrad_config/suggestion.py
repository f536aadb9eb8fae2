"""Suggestion: what somebody probably meant. Pure."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

# Below this similarity a guess misleads more often than it helps.
SIMILARITY: Final = 0.6


def nearest(word: str, candidates: Collection[str]) -> str | None:
    """Return the candidate most like `word`, or None where none is like it."""
    return next(iter(get_close_matches(word, candidates, n=1, cutoff=SIMILARITY)), None)


def did_you_mean(word: str, candidates: Collection[str]) -> str:
    """Return `; did you mean X?`, or nothing."""
    match = nearest(word, candidates)
    return f"; did you mean {match}?" if match else ""


def nearest_key(key: str, keys: Collection[str]) -> str | None:
    """Return the known key that was probably meant: the same name elsewhere, else a sibling, else any.

    >>> nearest_key("trainer.lr", ["trainer.seed", "trainer.policy.optimizer_config.lr"])
    'trainer.policy.optimizer_config.lr'
    """
    section, _, name = key.rpartition(".")
    prefix = f"{section}." if section else ""
    siblings = [k.removeprefix(prefix) for k in keys if k.startswith(prefix)]
    same_name = [k for k in keys if k.rpartition(".")[2] == name]
    if same_name:
        return nearest(key, same_name) or same_name[0]
    sibling = nearest(name, [s for s in siblings if "." not in s])
    return prefix + sibling if sibling else nearest(key, keys)
