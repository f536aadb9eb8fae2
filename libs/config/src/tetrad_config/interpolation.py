"""Interpolation: `${other.key}`, `${oc.env:NAME,default}` and `${tetrad.asset:path}` in values.

Reads the environment it is given, never the process's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from omegaconf.resolvers import oc
from pydantic import JsonValue

from tetrad_config.errors import Problem
from tetrad_config.tree import Tree

ASSETS: Final = Path(__file__).parent / "assets"


class UnresolvableError(ValueError):
    """An interpolation names something that is not there."""


def asset(name: str) -> str:
    """Return the path of a file or folder that ships with Tetrad, such as `demo/warm_start`.

    Raises:
        UnresolvableError: there is no such asset.
    """
    path = (ASSETS / name).resolve()
    if not path.is_relative_to(ASSETS.resolve()) or not path.exists():
        raise UnresolvableError(f"Tetrad ships no asset {name!r}")
    return str(path)


def _variable(environ: Mapping[str, str]) -> Callable[..., str | None]:
    def read(name: str, *default: object) -> str | None:
        if name in environ:
            return environ[name]
        if not default:
            raise UnresolvableError(
                f"environment variable {name} is not set; set it, or write ${{oc.env:{name},DEFAULT}}"
            )
        return None if default[0] is None else str(default[0])

    return read


@contextmanager
def _resolvers(environ: Mapping[str, str]) -> Iterator[None]:
    """Lend OmegaConf our resolvers; its registry is global, so it is put back as it was."""
    OmegaConf.register_resolver("oc.env", _variable(environ), replace=True)
    OmegaConf.register_resolver("tetrad.asset", asset, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_resolver("oc.env", oc.env, replace=True)
        OmegaConf.clear_resolver("tetrad.asset")


def _reason(error: BaseException) -> str:
    """Our own words where a resolver raised them, else the first line of OmegaConf's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnresolvableError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0]


def _resolved(node: DictConfig | ListConfig, key: str, problems: list[Problem]) -> JsonValue:
    names = range(len(node)) if isinstance(node, ListConfig) else list(node)
    values: dict[str, JsonValue] = {}
    for name in names:
        at = f"{key}[{name}]" if isinstance(node, ListConfig) else f"{key}.{name}" if key else str(name)
        try:
            value = node[name]
        except MissingMandatoryValue:
            problems.append(Problem(key=at, message=f"must be given; write {at}=VALUE"))
        except OmegaConfBaseException as error:
            problems.append(Problem(key=at, message=_reason(error)))
        else:
            nested = isinstance(value, DictConfig | ListConfig)
            values[str(name)] = _resolved(value, at, problems) if nested else value
    return list(values.values()) if isinstance(node, ListConfig) else values


def resolved(tree: Tree, *, environ: Mapping[str, str]) -> tuple[Tree, list[Problem]]:
    """Replace every interpolation by its value; what fails is left out and reported."""
    problems: list[Problem] = []
    try:
        node = OmegaConf.create(tree)
    except OmegaConfBaseException as error:
        return {}, [Problem(key=error.full_key or "run file", message=_reason(error))]
    with _resolvers(environ):
        result = _resolved(node, "", problems)
    assert isinstance(result, dict)
    return result, problems
