"""Loader: run file, presets, environment and command line become one checked `RunConfig`.

Owns the order of things; each step lives in a module of its own. Collects every problem before it gives up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from tetrad_config.aliases import canonical
from tetrad_config.errors import ConfigError, Problem
from tetrad_config.explain import explained
from tetrad_config.followers import fit_engines, follow_policy
from tetrad_config.interpolation import resolved
from tetrad_config.layer import Layer, Origin, OriginKind, Stack, stacked
from tetrad_config.notices import notices_of
from tetrad_config.overrides import parse_overrides
from tetrad_config.refused import refusals, without_harmless
from tetrad_config.rules import check
from tetrad_config.run import RunConfig, derive
from tetrad_config.run_file import file_layers, find_run_file, preset_layers
from tetrad_config.schema import fields, free_form_parent
from tetrad_config.section import DottedKey
from tetrad_config.suggestion import nearest_key
from tetrad_config.tree import Tree, merged
from tetrad_config.variables import variable_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A run file that may be used, and how it came about."""

    config: RunConfig
    """The whole run file, checked."""
    origins: Mapping[DottedKey, Origin]
    """Key → where its value comes from, for every key."""
    notices: tuple[str, ...]
    """What the user should know: aliases, keys without effect, sizes that surprise."""
    run_file: Path | None
    """The file that was read, if any."""


def _read_layers(
    overrides: Sequence[str], *, run_file: Path | None, environ: Mapping[str, str]
) -> tuple[list[Layer], list[str], list[Problem]]:
    """Read every source, lowest precedence first."""
    command = parse_overrides(overrides)
    layers = file_layers(run_file) if run_file else []
    notices: list[str] = []
    problems = list(command.problems)
    for name in command.presets:
        preset, about = preset_layers(name, beside=run_file.parent if run_file else None)
        layers += preset
        notices += about
    variables, unknown = variable_layers(environ)
    return [*layers, *variables, *command.layers], notices, problems + unknown


def _canonical(layers: Sequence[Layer]) -> tuple[list[Layer], list[str], list[Problem]]:
    results = [canonical(layer) for layer in layers]
    return (
        [layer for layer, _, _ in results],
        [notice for _, notices, _ in results for notice in notices],
        [problem for _, _, problems in results for problem in problems],
    )


def _unknown_deletions(layers: Sequence[Layer]) -> list[Problem]:
    """A deleted key must exist, as a value, a section or an entry of a free-form key."""
    known = set(fields())
    sections = {DottedKey(key.rsplit(".", n)[0]) for key in known for n in range(1, key.count(".") + 1)}
    problems: list[Problem] = []
    for key in (key for layer in layers for key in layer.deleted):
        if key not in known | sections and free_form_parent(key) is None:
            guess = nearest_key(key, known)
            message = f"unknown key; did you mean ~{guess}?" if guess else "unknown key"
            problems.append(Problem(key=f"~{key}", message=message))
    return problems


def _defaults() -> Tree:
    """Every key's default: interpolations may name keys that nothing sets."""
    return RunConfig().model_dump(mode="json")


def _origins(stack: Stack, followed: Mapping[DottedKey, DottedKey]) -> dict[DottedKey, Origin]:
    origins = {key: Origin(OriginKind.DEFAULT) for key in fields()}
    origins |= stack.origins
    return origins | {target: Origin(OriginKind.DERIVED, source) for target, source in followed.items()}


def _validated(tree: Tree, origins: Mapping[DottedKey, Origin]) -> tuple[RunConfig | None, list[Problem]]:
    refused = refusals(tree)
    try:
        config = RunConfig.model_validate(without_harmless(tree))
    except ValidationError as error:
        invalid = [p for p in explained(error, origins=origins) if not _is_derived(p, origins)]
        wrong = {problem.key for problem in invalid}
        return None, [*invalid, *(problem for problem in refused if problem.key not in wrong)]
    return config, [*refused, *check(config)]


def _is_derived(problem: Problem, origins: Mapping[DottedKey, Origin]) -> bool:
    """Tell whether the key only follows another one, which is wrong as well and is reported."""
    origin = origins.get(DottedKey(problem.key))
    return origin is not None and origin.kind is OriginKind.DERIVED


def load(
    overrides: Sequence[str] = (),
    *,
    config_path: str | Path | None = None,
    config_name: str | None = None,
    environ: Mapping[str, str],
    cwd: Path | None = None,
) -> LoadedConfig:
    """Load a run: command line over environment over presets over file over defaults.

    Args:
        overrides: `a.b=c`, `+a.b=c`, `~a.b`, `+experiment=NAME`.
        config_path: folder of the run file (or the file itself), relative to `cwd`.
        config_name: name of the run file, with or without `.yaml`; None is no file.
        environ: the environment: `${oc.env:…}` and `TETRAD_*` are read from it.
        cwd: folder that relative paths start from; the process's own unless given.

    Raises:
        ConfigError: everything that is wrong, at once.
    """
    run_file = find_run_file(config_path=config_path, config_name=config_name, cwd=cwd or Path.cwd())
    layers, notices, problems = _read_layers(overrides, run_file=run_file, environ=environ)
    layers, announced, contradictions = _canonical(layers)
    stack = stacked(layers)
    tree, followed = derive(stack.tree)
    tree, unresolved = resolved(merged(_defaults(), tree), environ=environ)
    origins = _origins(stack, followed)
    tree, shared, unequal = follow_policy(tree, origins)
    tree, fitted = fit_engines(tree, origins)
    config, invalid = _validated(tree, origins)
    # What only follows another key fails with it, and is not said twice.
    unresolved = [problem for problem in unresolved if not _is_derived(problem, origins)]
    problems += [*contradictions, *_unknown_deletions(layers), *unresolved, *unequal, *invalid]
    if problems or config is None:
        raise ConfigError(list(dict.fromkeys(problems)))
    return LoadedConfig(
        config=config,
        origins=MappingProxyType(origins),
        notices=(*notices, *announced, *shared, *fitted, *notices_of(config, origins)),
        run_file=run_file,
    )
