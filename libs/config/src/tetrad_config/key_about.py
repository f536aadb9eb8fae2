"""About a key: all that is known of it, and which key a word means. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from tetrad_config.aliases import ALIASES
from tetrad_config.elsewhere import TRL, VERL, elsewhere
from tetrad_config.field_words import default_words, type_words
from tetrad_config.followers import FOLLOWERS
from tetrad_config.loader import LoadedConfig
from tetrad_config.notices import CONDITIONAL
from tetrad_config.readers import readers_of
from tetrad_config.refused import NOT_BUILT, OUT_OF_SCOPE
from tetrad_config.run import DERIVED, RunConfig
from tetrad_config.schema import fields
from tetrad_config.section import DottedKey
from tetrad_config.shown import shown
from tetrad_config.tree import lookup
from tetrad_config.units import unit_of
from tetrad_config.variables import variable_of

MAX_NEAR: Final = 5
_LABEL_WIDTH: Final = 12


@dataclass(frozen=True, slots=True)
class Meant:
    """What a word means."""

    keys: tuple[DottedKey, ...]
    """One key; or several that it could be, such as those of a section; or none."""
    because: str = ""
    """How the word is another name of it; empty where it is the key itself."""


def meant_by(word: str) -> Meant:
    """Return the keys that a word means: a key, an alias, a name of another system, a section, or a key's last part.

    >>> meant_by("num_generations")
    Meant(keys=('generator.n_samples_per_prompt',), because='TRL calls it num_generations')
    """
    key = DottedKey(word)
    if key in fields():
        return Meant((key,))
    if key in ALIASES:
        return Meant((ALIASES[key],), f"{word} is an alias")
    for system, table in (("verl", VERL), ("TRL", TRL)):
        named = tuple(DottedKey(ours) for ours, theirs in table.items() if word in theirs.split(", "))
        if named:
            return Meant(named, f"{system} calls it {word}")
    below = tuple(known for known in fields() if known.startswith(f"{word}."))
    ends = tuple(known for known in fields() if known.endswith(f".{word}"))
    return Meant(below or ends)


def near(word: str) -> list[DottedKey]:
    """Return keys that are spelt like a word, the nearest first."""
    by_end: dict[str, list[DottedKey]] = {}
    for key in fields():
        by_end.setdefault(key.rpartition(".")[2], []).append(key)
    whole = get_close_matches(word, fields(), n=MAX_NEAR, cutoff=0.75)
    ends = get_close_matches(word.rpartition(".")[2], by_end, n=MAX_NEAR, cutoff=0.6)
    found = [*map(DottedKey, whole), *(key for end in ends for key in by_end[end])]
    return list(dict.fromkeys(found))[:MAX_NEAR]


def why_not_here(word: str) -> str | None:
    """Return why Tetrad has no such key, where that is known: a key of SkyRL that means nothing here."""
    found = OUT_OF_SCOPE.get(DottedKey(word))
    return None if found is None else found.reason


def about(key: DottedKey, loaded: LoadedConfig | None = None) -> list[str]:
    """Return the lines about one key; with a run file also its value there, and who set it."""
    field = fields()[key]
    rows = [*_in_this_run(key, loaded), ("type", type_words(field)), ("unit", unit_of(key))]
    rows += [
        ("default", default_words(field)),
        ("read by", ", ".join(readers_of(key)) or "nobody"),
        ("variable", variable_of(key)),
        ("elsewhere", "; ".join(f"{system}: {name}" for system, name in elsewhere(key).items())),
        ("also as", ", ".join(alias for alias, ours in ALIASES.items() if ours == key)),
        *_relations(key),
    ]
    refused = NOT_BUILT.get(key)
    if refused is not None:
        accepted = ", ".join(shown(value) for value in refused.accepted)
        rows.append(("refused", f"anything but {accepted}: {refused.reason}"))
    description = " ".join((field.description or "").split())
    return [key, f"  {description}", *(f"  {label:<{_LABEL_WIDTH}}{text}" for label, text in rows if text)]


def _in_this_run(key: DottedKey, loaded: LoadedConfig | None) -> Iterator[tuple[str, str]]:
    if loaded is None:
        return
    tree: dict[str, object] = loaded.config.model_dump(mode="json")
    yield "value", f"{shown(lookup(tree, key))} ({loaded.origins[key]})"  # type: ignore[arg-type]  # JSON, as dumped
    yield "no effect", "; ".join(_idle(key, loaded.config))


def _idle(key: DottedKey, config: RunConfig) -> Iterator[str]:
    for row in CONDITIONAL:
        is_meant = any(key == one or key.startswith(f"{one}.") for one in row.keys)
        if is_meant and not row.matters(config):
            yield f"in this run: {row.because(config)}"


def _relations(key: DottedKey) -> Iterator[tuple[str, str]]:
    follows: Mapping[DottedKey, DottedKey] = {target: source for target, (source, _) in DERIVED.items()}
    if key in follows:
        yield "follows", f"{follows[key]}, where it is absent or null"
    elif key in FOLLOWERS:
        yield "follows", FOLLOWERS[key]
    yield "followed by", ", ".join(target for target, source in follows.items() if source == key)
