"""Settings: fills a service's settings class from flags and environment, and describes it for `--help`.

Flags win over variables. The environment is handed in, so that one place in a process reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import EnvSettingsSource

from tetrad_config.errors import ConfigError, Problem
from tetrad_config.process import PREFIX, ServiceSettings
from tetrad_config.shown import shown
from tetrad_config.suggestion import did_you_mean
from tetrad_config.variables import unknown_variables, variable_of

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)

HF_TOKEN: Final = "HF_TOKEN"  # noqa: S105  # the name of the variable
WANDB_API_KEY: Final = "WANDB_API_KEY"


class GivenVariables(EnvSettingsSource):
    """The `TETRAD_*` variables of an environment that is handed in, in place of the process's own."""

    def __init__(self, cls: type[ServiceSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(cls)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        # The library compares names in lower case; ours count in capitals only.
        return {name.lower(): value for name, value in self._environ.items() if name.startswith(PREFIX)}


def flag_of(field: str) -> str:
    """Return the flag of a field: `run_dir` → `--run-dir`."""
    return f"--{field.replace('_', '-')}"


def _from_flags(cls: type[ServiceSettings], argv: Sequence[str]) -> tuple[dict[str, str], list[Problem]]:
    """Read `--field value` and `--field=value`, with - or _ inside the name."""
    values: dict[str, str] = {}
    problems: list[Problem] = []
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        field = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or field not in cls.model_fields:
            guess = did_you_mean(flag, [flag_of(name) for name in cls.model_fields])
            problems.append(Problem(key=word, message=f"unknown argument{guess}"))
            continue
        given = value if equals else next(words, None)
        if given is None:
            problems.append(Problem(key=word, message="needs a value"))
        else:
            values[field] = given
    return values, problems


def _explained(error: ValidationError) -> list[Problem]:
    problems: list[Problem] = []
    for details in error.errors(include_url=False):
        name = str(details["loc"][0])
        message = details["msg"].removeprefix("Value error, ")
        if details["type"] == "missing":
            problems.append(Problem(key=name, message=f"is required; set {variable_of(name)} or {flag_of(name)}"))
        else:
            problems.append(
                Problem(key=name, message=f"{message}; got {details['input']!r} ({variable_of(name)}, {flag_of(name)})")
            )
    return problems


def load_settings(cls: type[SettingsT], argv: Sequence[str], environ: Mapping[str, str]) -> SettingsT:
    """Fill `cls` from `--field value` flags over `TETRAD_FIELD` variables over its defaults.

    Raises:
        ConfigError: everything that is unknown, missing, of the wrong type or out of range.
    """
    flags, problems = _from_flags(cls, argv)
    problems += unknown_variables(environ)
    try:
        settings = cls(**{**GivenVariables(cls, environ)(), **flags})
    except ValidationError as error:
        raise ConfigError([*problems, *_explained(error)]) from error
    if problems:
        raise ConfigError(problems)
    return settings


def _default_of(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "unset" if field.default is None else f"default {field.default}"


def describe_settings(cls: type[ServiceSettings]) -> str:
    """Return the body of `--help`: each flag with its variable, default and meaning."""
    lines: list[str] = []
    for name, field in cls.model_fields.items():
        lines.append(f"  {flag_of(name)} VALUE   ({variable_of(name)}, {_default_of(field)})")
        lines.append(f"      {field.description}")
    return "\n".join(lines)


def show_settings(settings: ServiceSettings) -> str:
    """Return the settings as YAML, one line per field, for `--show-config`."""
    return "\n".join(f"{name}: {shown(value)}" for name, value in settings.model_dump(mode="json").items())


def secret(name: str, environ: Mapping[str, str]) -> SecretStr | None:
    """Return a secret such as `HF_TOKEN`: from the environment only, and never printed."""
    return SecretStr(environ[name]) if environ.get(name) else None
