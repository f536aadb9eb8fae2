"""Reward record: which reward implementation a run is graded by, kept in the run's folder.

The launcher writes it when the reward is swapped; the coordinator follows it, and whoever resumes the run reads it.
Owns the file `reward/record.json`. A run without one is graded by its first edition.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from tetrad_config.errors import ConfigError, Problem
from tetrad_config.run import RunConfig
from tetrad_config.section import DottedKey
from tetrad_config.tree import Tree, leaves, placed

FOLDER: Final = "reward"
_NAME: Final = "record.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """One implementation of the reward, and which replicas belong to it."""

    number: int = 1
    """Replicas say it in their Hello; it grows with every swap."""
    endpoints: tuple[str, ...] = ()
    """Where replicas bind that others than the launcher keep; empty where the launcher keeps them."""

    def includes(self, *, edition: int, endpoint: str) -> bool:
        """Whether a replica belongs to it."""
        return edition == self.number or endpoint in self.endpoints


FIRST: Final = Edition()


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardRecord:
    """What grades the run, what is to, and how that came about."""

    current: Edition = FIRST
    wanted: Edition | None = None
    """Becomes current as soon as a replica of it is there; None outside of a swap."""
    configured: Tree = field(default_factory=dict)
    """`reward` and `environment` as the run's command asked for them."""
    chosen: Tree = field(default_factory=dict)
    """The same as the last swap left them."""

    @property
    def next_number(self) -> int:
        """Of the next edition."""
        return max(self.current.number, self.wanted.number if self.wanted else 0) + 1

    def swapped(self, before: RunConfig, after: RunConfig) -> RewardRecord:
        """Return the record once the wanted edition is current."""
        assert self.wanted is not None, "nothing is wanted"
        configured = self.configured or reward_sections(before)
        return replace(self, current=self.wanted, wanted=None, configured=configured, chosen=reward_sections(after))

    def resumed(self, config: RunConfig) -> RunConfig:
        """Return what a run that goes on is graded by: the last swap's word, but for keys that were changed since."""
        asked, was, chosen = reward_sections(config), dict(leaves(self.configured)), dict(leaves(self.chosen))
        tree: Tree = config.model_dump(mode="json")
        for key, value in leaves(asked):
            if key in chosen and was.get(key) == value:
                tree = placed(tree, key, chosen[key])
        return RunConfig.model_validate(tree)


def reward_sections(config: RunConfig) -> Tree:
    """Return the part of a run file that says how samples are graded."""
    tree: Tree = config.model_dump(mode="json")
    return {name: tree[name] for name in ("reward", "environment")}


def changed_keys(before: RunConfig, after: RunConfig) -> list[DottedKey]:
    """Return the keys of the reward that differ."""
    old = dict(leaves(reward_sections(before)))
    return [key for key, value in leaves(reward_sections(after)) if old.get(key) != value]


def record_path(run_dir: Path) -> Path:
    """Return where the record of a run is."""
    return run_dir / FOLDER / _NAME


def read_record(run_dir: Path) -> RewardRecord | None:
    """Return the record of a run; None where its reward was never swapped.

    Raises:
        ConfigError: the file is no record.
    """
    path = record_path(run_dir)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(text)
        fields["current"] = _edition(fields["current"])
        fields["wanted"] = None if fields["wanted"] is None else _edition(fields["wanted"])
        return RewardRecord(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError([Problem(key=str(path), message=f"is no record of a reward: {error!r}")]) from error


def write_record(run_dir: Path, record: RewardRecord) -> None:
    """Write the record, durably; a reader sees the old one or the new one."""
    path = record_path(run_dir)
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _edition(fields: dict[str, object]) -> Edition:
    number, endpoints = fields["number"], fields["endpoints"]
    if type(number) is not int or not isinstance(endpoints, list):
        raise TypeError(f"edition {fields}")
    return Edition(number=number, endpoints=tuple(map(str, endpoints)))
