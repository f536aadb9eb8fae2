"""From the name of a grader to something that makes environments.

Four kinds of name: bundled (`gsm8k`), entry point of the group `tetrad.environments`, `package.module:Class` and
`path/to/file.py:function`. Behind either of the last two may be an environment class or a reward function. This
imports foreign code, so it runs in worker processes only.
"""

import copy
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from tetrad_reward import skyrl_gym_registry
from tetrad_reward.environment import Config
from tetrad_reward.function_environment import FunctionEnvironment, check_signature
from tetrad_reward.grader_version import grader_version
from tetrad_reward.weighted_sum import Component, WeightedSum

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP: Final = "tetrad.environments"
BUNDLED: Final[Mapping[str, str]] = {
    "arithmetic": "tetrad_reward.environments.arithmetic:Arithmetic",
    "code": "tetrad_reward.environments.code:Code",
    "gsm8k": "tetrad_reward.environments.gsm8k:Gsm8k",
    # SkyRL's example goes by this name.
    "llm_as_a_judge": "tetrad_reward.environments.llm_judge:LlmJudge",
    "llm_judge": "tetrad_reward.environments.llm_judge:LlmJudge",
    "math": "tetrad_reward.environments.math:Math",
    "multiply": "tetrad_reward.environments.multiply:Multiply",
    "reasoning_gym": "tetrad_reward.environments.reasoning_gym:ReasoningGym",
}
WEIGHTED_SUM: Final = "weighted_sum"
"""What `reward.functions` are together; its settings are their names, references, weights and settings."""
READY: Final = ("arithmetic", "gsm8k", "multiply")
"""Bundled ones that need nothing and load at once: every replica has them, whatever its run asks for."""
EXTRAS: Final[Mapping[str, str]] = {
    "math_verify": "math",
    "reasoning_gym": "reasoning-gym",
    "skyrl_gym": "skyrl-gym",
}
"""Package that an environment needs → the extra that brings it."""

Make = Callable[[Mapping[str, object]], object]
"""Makes one episode's environment from the extras of its row; may raise anything."""


class GraderError(Exception):
    """The name leads to no grader; the message says why and what would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grader:
    """One implementation that grades, ready to make environments."""

    version: str
    """Changes with its name, its source and its settings."""
    is_replayable: bool
    make: Make
    grade_timeout_s: float = 0.0
    """Its own deadline for a turn; 0 is none."""
    is_environment: bool = False
    """Whether it leads an episode, as a class does; a function sees one response."""


def load_grader(reference: str, config: Mapping[str, object]) -> Grader:
    """Find, import and check a grader; raises GraderError, or whatever importing foreign code raises."""
    if reference == WEIGHTED_SUM:
        return _sum_grader(config)
    target = _load_target(reference)
    if inspect.isclass(target):
        return _class_grader(reference, target, config)
    if callable(target):
        return _function_grader(reference, target, config)
    raise GraderError(f"{reference}: {type(target).__name__} is neither an environment class nor a function")


def known_names() -> list[str]:
    """Return the names that need no path: bundled ones and those of installed packages."""
    # Here, because it costs a starting worker 30 ms that bundled graders do not need.
    from importlib.metadata import entry_points

    gym = skyrl_gym_registry.NAMES if skyrl_gym_registry.is_installed() else ()
    return sorted({*BUNDLED, *entry_points(group=ENTRY_POINT_GROUP).names, *gym})


def _class_grader(reference: str, cls: type, config: Mapping[str, object]) -> Grader:
    if not callable(getattr(cls, "step", None)):
        raise GraderError(f"{reference}: class {cls.__name__} has no step(action); an environment needs one")

    _prepare(cls, reference, config)

    def make(extras: Mapping[str, object]) -> object:
        # Copied, so that no episode can change the settings of the next.
        return cls(env_config=Config(copy.deepcopy(dict(config))), extras=dict(extras))

    return Grader(
        version=grader_version(reference, cls, config),
        is_replayable=bool(getattr(cls, "replayable", False)),
        make=make,
        grade_timeout_s=float(getattr(cls, "grade_timeout_s", 0.0)),
        is_environment=True,
    )


def _prepare(cls: type, reference: str, config: Mapping[str, object]) -> None:
    prepare = getattr(cls, "prepare_grader", None)
    if not inspect.ismethod(prepare):
        return
    try:
        prepare(config)
    except Exception as error:
        raise GraderError(f"{reference}: {error}") from error


def _function_grader(reference: str, function: Callable[..., float], config: Mapping[str, object]) -> Grader:
    if config:
        raise GraderError(f"{reference}: a reward function has no settings; got {', '.join(config)}")
    try:
        check_signature(function)
    except ValueError as error:
        raise GraderError(f"{reference}: {error}") from None
    return Grader(
        version=grader_version(reference, function, config),
        is_replayable=FunctionEnvironment.replayable,
        make=lambda extras: FunctionEnvironment(function, extras),
    )


def _sum_grader(config: Mapping[str, object]) -> Grader:
    components = [_component(spec) for spec in config["functions"]]  # type: ignore[attr-defined]  # from compose
    leaders = [component.name for component in components if component.grader.is_environment]
    if len(leaders) > 1:
        raise GraderError(f"reward.functions: {', '.join(leaders)} are all environments; one can lead an episode")
    versions = {component.name: component.grader.version for component in components}
    limits_s = [component.grader.grade_timeout_s for component in components]
    return Grader(
        version=grader_version(WEIGHTED_SUM, WeightedSum, {**config, "versions": versions}),
        is_replayable=all(component.grader.is_replayable for component in components),
        make=lambda extras: WeightedSum(components, extras),
        grade_timeout_s=sum(limits_s) if all(limits_s) else 0.0,
    )


def _component(spec: Mapping[str, object]) -> Component:
    name, reference = str(spec["name"]), str(spec["reference"])
    settings = spec["config"]
    assert isinstance(settings, Mapping)
    try:
        grader = load_grader(reference, settings)
    except GraderError as error:
        raise GraderError(f"reward.functions, {name}: {error}") from error
    return Component(name=name, weight=float(str(spec["weight"])), grader=grader)


def _load_target(reference: str) -> object:
    place, colon, attribute = reference.rpartition(":")
    if not colon:
        return _load_named(reference)
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    return _attribute(module, attribute, reference)


def _load_named(name: str) -> object:
    if name in BUNDLED:
        return _load_needing_extra(name, lambda: _load_target(BUNDLED[name]))
    point = _entry_point(name)
    if point is not None:
        return point.load()
    if name in skyrl_gym_registry.NAMES:
        return _load_needing_extra(name, lambda: skyrl_gym_registry.registered_environment(name))
    near = get_close_matches(name, known_names(), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise GraderError(
        f"no environment {name!r}{hint} Known: {', '.join(known_names())}; "
        "or name one as package.module:Class or path/to/file.py:function"
    )


def _load_needing_extra(name: str, load: Callable[[], object]) -> object:
    try:
        return load()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise GraderError(missing_extra(name, package)) from error


def missing_extra(name: str, package: str) -> str:
    """Say which package an environment lacks, and how to get it."""
    extra = EXTRAS[package]
    return (
        f"environment {name!r} needs the package {package.replace('_', '-')}; "
        f"install it with: pip install 'tetrad-reward[{extra}]'"
    )


def _entry_point(name: str) -> "EntryPoint | None":
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINT_GROUP, name=name)
    if len({point.value for point in found}) > 1:
        values = ", ".join(sorted(point.value for point in found))
        raise GraderError(f"several packages register the environment {name!r}: {values}; name one as module:Class")
    return next(iter(found), None)


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module missing inside the user's module is another problem than a mistyped name.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise GraderError(f"no module {name!r} on the path {[entry for entry in sys.path if entry][-3:]}") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise GraderError(f"no file {path} (from {Path.cwd()}){hint}")
    name = f"tetrad_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs, as import would: dataclasses and inspect look a class's module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, name: str, reference: str) -> object:
    value: object = getattr(module, name, None)
    if value is None:
        names = [key for key, entry in vars(module).items() if callable(entry) and not key.startswith("_")]
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(names)[:8]) or 'none'}"
        raise GraderError(f"{reference}: no class or function {name!r} there; {hint}")
    return value
