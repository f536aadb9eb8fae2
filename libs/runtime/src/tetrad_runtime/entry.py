"""The front door of every service: `--help`, `--check`, `--show-config`, or run.

Owns the order: parse, then import, then run. The service's own modules are named, not imported, until they are needed,
so that looking at a service never loads its engine.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Generic, TypeVar, cast

from tetrad_config.errors import ConfigError
from tetrad_config.process import ServiceSettings
from tetrad_config.resolved import load_resolved
from tetrad_config.run import RunConfig
from tetrad_config.settings import describe_settings, load_settings, show_settings
from tetrad_runtime.exits import ExitCode, Fault, exit_code_of
from tetrad_runtime.process import DRAIN_TIMEOUT_S, run_service
from tetrad_telemetry import context, logs

FLAGS: Final = """
  --help          this text
  --check         read the settings and the run file, and start nothing
  --show-config   print the settings, and start nothing
"""

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Generic[S]):
    """A service as its `__main__` describes it."""

    service: str
    """As in `tetrad-<service>`, and in every log line."""
    summary: str
    settings: type[S]
    serve: str
    """`module:function`, `async (settings, run_config, drain) -> ExitCode | None`; imported when the service starts."""
    check: str | None = None
    """`module:function`, `(settings, run_config) -> int`: what `--check` runs once both were read. May raise Faults."""
    drain_timeout_s: float = DRAIN_TIMEOUT_S
    """Longest time from SIGTERM to the end."""

    def main(self, argv: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run the service, or answer what the flags ask; return the exit code."""
        flags = {word for word in argv if word in {"--help", "-h", "--check", "--show-config"}}
        if flags & {"--help", "-h"}:
            print(self.help())
            return ExitCode.OK
        try:
            settings = load_settings(self.settings, [word for word in argv if word not in flags], environ)
            if "--show-config" in flags:
                print(show_settings(settings))
                return ExitCode.OK
            run_config = load_resolved(settings.run_config_path)
        except ConfigError as error:
            return self._refuse(error)
        return self._check(settings, run_config) if "--check" in flags else self._run(settings, run_config)

    def help(self) -> str:
        """Return the text of `--help`."""
        options = describe_settings(self.settings)
        return f"usage: tetrad-{self.service} [OPTION VALUE]…\n\n{self.summary}\n{FLAGS}\n{options}"

    def _check(self, settings: S, run_config: RunConfig) -> int:
        if self.check is None:
            return ExitCode.OK
        try:
            return cast(Callable[[S, RunConfig], int], _named(self.check))(settings, run_config)
        except (ConfigError, Fault, OSError) as error:
            return self._refuse(error)

    def _refuse(self, error: Exception) -> int:
        print(f"tetrad-{self.service}: {error}", file=sys.stderr)
        return exit_code_of(error)

    def _run(self, settings: S, run_config: RunConfig) -> int:
        logs.configure(service=self.service, format=settings.log_format, level=settings.log_level)
        context.bind(run=settings.run_dir.name, replica=settings.name)
        serve = cast(Callable[[S, RunConfig, asyncio.Event], Awaitable[ExitCode | None]], _named(self.serve))
        return run_service(lambda drain: serve(settings, run_config, drain), drain_timeout_s=self.drain_timeout_s)


def _named(target: str) -> object:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
