"""Run file: YAML files with their `defaults` lists, and presets, read into layers.

The one place that reads run files from disk. Knows no key but `defaults`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import JsonValue
from yaml import YAMLError

from tetrad_config.errors import ConfigError, Problem
from tetrad_config.layer import Layer, Origin, OriginKind
from tetrad_config.overrides import PRESET_GROUP
from tetrad_config.resolved import is_resolved
from tetrad_config.suggestion import did_you_mean
from tetrad_config.tree import Tree

BUILT_IN: Final = Path(__file__).parent / "presets"
_SUFFIXES: Final = ("", ".yaml", ".yml")
_SELF: Final = "_self_"

PRESET_ALIASES: Final[Mapping[str, tuple[str, str]]] = {
    "grpo_qwen2.5-0.5b_math500": ("gsm8k-grpo", "despite its name it trains GSM8K, as it always did"),
}
"""Alias → preset, and what to say about it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where names of a `defaults` list are looked up, and whose values they are."""

    folders: tuple[Path, ...]
    kind: OriginKind
    chain: tuple[Path, ...] = ()
    """Files that led here, to find a circle."""


def _failed(key: str, message: str) -> ConfigError:
    return ConfigError([Problem(key=key, message=message)])


def read_yaml(path: Path) -> Tree:
    """Read one YAML mapping with interpolations unresolved; duplicate keys are refused.

    Raises:
        ConfigError: the file cannot be read, is not YAML or not a mapping.
    """
    try:
        return yaml_tree(path.read_text(encoding="utf-8"), name=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise _failed(str(path), f"cannot be read: {error}") from error


def yaml_tree(text: str, *, name: str) -> Tree:
    """Read a YAML mapping from text; `name` stands in errors. Raises ConfigError."""
    try:
        tree = OmegaConf.create(text) if text.strip() else OmegaConf.create()
    except (YAMLError, OmegaConfBaseException) as error:
        raise _failed(name, f"is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, DictConfig):
        raise _failed(name, "holds a list; a mapping of sections such as trainer and generator is expected")
    container = OmegaConf.to_container(tree, resolve=False)
    assert isinstance(container, dict)
    return _text_keys(cast(Mapping[object, object], container))


def _text_keys(tree: Mapping[object, object]) -> Tree:
    """Make every key text: YAML reads `1:` as a number."""
    nested = {str(key): _text_keys(value) if isinstance(value, dict) else value for key, value in tree.items()}
    return cast(Tree, nested)  # what YAML holds is JSON, once its keys are text


def _first(folders: Sequence[Path], name: str) -> Path | None:
    """Find `name`, with or without its suffix, in the first folder that has it."""
    candidates = (folder / f"{name}{suffix}" for folder in folders for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _names(entry: JsonValue, path: Path) -> str:
    """Read one entry of a `defaults` list: `name`, `/name`, `group: option` or `override /group: option`."""
    match entry:
        case str():
            return entry.lstrip("/")
        case dict() if len(entry) == 1 and isinstance(option := next(iter(entry.values())), str):
            group = next(iter(entry)).removeprefix("override ").strip("/ ")
            return f"{group}/{option}"
    raise _failed(str(path), f"defaults: {entry!r} is not a name; write - NAME or - GROUP: NAME")


def _layers(path: Path, place: _Place) -> Iterator[Layer]:
    """Read `path` and what its `defaults` list names, lowest first; the file is last unless `_self_` says."""
    if path in place.chain:
        circle = " → ".join(p.name for p in (*place.chain, path))
        raise _failed(str(path), f"defaults name each other in a circle: {circle}")
    tree = read_yaml(path)
    entries = tree.pop("defaults", None) or []
    if not isinstance(entries, list):
        raise _failed(str(path), "defaults must be a list")
    label = path.stem if place.kind is OriginKind.PRESET else path.name
    below = _Place((path.parent, *place.folders), place.kind, (*place.chain, path))
    for entry in entries if _SELF in entries else [*entries, _SELF]:
        if entry == _SELF:
            yield Layer(origin=Origin(place.kind, label), tree=tree)
        else:
            yield from _named(_names(entry, path), below, asked_by=path)


def _named(name: str, place: _Place, *, asked_by: Path) -> Iterator[Layer]:
    path = _first((*place.folders, BUILT_IN), PRESET_ALIASES.get(name, (name, ""))[0])
    if path is None:
        folders = ", ".join(str(folder) for folder in dict.fromkeys((*place.folders, BUILT_IN)))
        raise _failed(str(asked_by), f"defaults: {name} is in none of {folders}")
    yield from _layers(path, place)


def find_run_file(*, config_path: str | Path | None, config_name: str | None, cwd: Path) -> Path | None:
    """Find the run file: `config_path` is a folder (or the file itself), relative to `cwd`; no name, no file.

    Raises:
        ConfigError: a file is named and is not there.
    """
    folder = (cwd / Path(config_path or ".").expanduser()).resolve()
    if config_name is None:
        if config_path is None or folder.is_dir():
            return None
        config_name, folder = folder.name, folder.parent
    path = _first((folder,), config_name)
    if path is None:
        there = [p.stem for p in sorted(folder.glob("*.y*ml"))] if folder.is_dir() else []
        raise _failed(str(folder / config_name), f"no such run file{did_you_mean(config_name, there)}")
    return path


def file_layers(path: Path) -> list[Layer]:
    """Read a run file and what it builds on."""
    kind = OriginKind.RUN if is_resolved(path) else OriginKind.FILE
    return list(_layers(path, _Place((path.parent,), kind)))


def preset_names(folders: Sequence[Path] = ()) -> list[str]:
    """Name every preset that `+experiment=` knows."""
    found = {path.stem for folder in (*folders, BUILT_IN) for path in (folder / PRESET_GROUP).glob("*.yaml")}
    return sorted(found | set(PRESET_ALIASES))


def preset_layers(name: str, *, beside: Path | None) -> tuple[list[Layer], list[str]]:
    """Read a preset from `experiment/` beside the run file or from the built-in ones; return layers and notices.

    Raises:
        ConfigError: there is no such preset.
    """
    folders = (beside,) if beside else ()
    real, about = PRESET_ALIASES.get(name, (name, ""))
    path = _first((*folders, BUILT_IN), f"{PRESET_GROUP}/{real}")
    if path is None:
        known = preset_names(folders)
        raise _failed(
            f"+{PRESET_GROUP}={name}", f"no such preset{did_you_mean(name, known)}; presets: {', '.join(known)}"
        )
    notices = [f"+{PRESET_GROUP}={name} is an alias of {real}: {about}"] if about else []
    return list(_layers(path, _Place((*folders, BUILT_IN), OriginKind.PRESET))), notices
