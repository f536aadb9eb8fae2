"""Which subcommands there are: ours by module, the services' by entry point.

Owns the list. Imports none of them: a command is loaded when it is called.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final, cast

GROUP: Final = "tetrad.commands"
"""A distribution adds a command with `[project.entry-points."tetrad.commands"]`, NAME = "module:function"."""

Main = Callable[[Sequence[str]], int]
"""What a command is: takes its arguments, returns an exit code."""


@dataclass(frozen=True, slots=True)
class Builtin:
    """A command of this distribution."""

    target: str
    """`module:function`."""
    summary: str

    def load(self) -> Main:
        """Import the command."""
        module, _, name = self.target.partition(":")
        return cast(Main, getattr(import_module(module), name))


@dataclass(frozen=True, slots=True)
class FromService:
    """A command that a service's distribution brings."""

    distribution: str
    summary: str


BUILTINS: Final[Mapping[str, Builtin]] = {
    "train": Builtin("tetrad_cli.commands.train:main", "run in the foreground; ends with the learner"),
    "eval": Builtin("tetrad_cli.commands.eval:main", "evaluate a checkpoint or a model; changes no file of a run"),
    "up": Builtin("tetrad_cli.commands.up:main", "start a run in the background"),
    "agent": Builtin("tetrad_cli.commands.agent:main", "lend this host to a run of another one"),
    "down": Builtin("tetrad_cli.commands.down:main", "drain and stop a run"),
    "status": Builtin("tetrad_cli.commands.status:main", "show the processes of a run"),
    "watch": Builtin("tetrad_cli.commands.watch:main", "the same, live"),
    "why": Builtin("tetrad_cli.commands.why:main", "say in one sentence what the learner waits for"),
    "logs": Builtin("tetrad_cli.commands.logs:main", "show or follow the logs of a run"),
    "scale": Builtin("tetrad_cli.commands.scale:main", "change the number of replicas: rollout=3"),
    "reward": Builtin("tetrad_cli.commands.reward:main", "swap the reward implementation of a run, or show it"),
    "dashboards": Builtin("tetrad_cli.commands.dashboards:main", "Prometheus and Grafana of a run: where, or how"),
    "plan": Builtin("tetrad_cli.commands.plan:main", "print the arithmetic of a run before anything loads"),
    "explain": Builtin("tetrad_cli.commands.explain:main", "say what a key does, or what an error means"),
    "config": Builtin("tetrad_cli.commands.config:main", "show every key of a run, and which source set it"),
    "keys": Builtin("tetrad_cli.commands.keys:main", "make, list, rotate and revoke the keys of services"),
    "doctor": Builtin("tetrad_cli.commands.doctor:main", "look at this machine"),
    "conformance": Builtin(
        "tetrad_cli.commands.conformance:main", "try a reward service of another make, rule by rule"
    ),
    "data": Builtin("tetrad_cli.data:command", "make and inspect datasets and models"),
}

FROM_SERVICES: Final[Mapping[str, FromService]] = {
    "grade": FromService("tetrad-reward", "score responses from a file with an environment"),
    "replay": FromService("tetrad-learner", "repeat a training step from its journal"),
    "samples": FromService("tetrad-learner", "write a run's samples as one HTML file to look at"),
    "infer": FromService("tetrad-rollout", "generate from a checkpoint"),
}


class UnknownCommandError(ValueError):
    """No such command, or its distribution is not installed; the text says what to do."""


def load(name: str) -> Main:
    """Import a command by name; raises UnknownCommandError with a hint."""
    if name in BUILTINS:
        return BUILTINS[name].load()
    for point in entry_points(group=GROUP, name=name):
        return cast(Main, point.load())
    if name in FROM_SERVICES:
        distribution = FROM_SERVICES[name].distribution
        raise UnknownCommandError(f"`tetrad {name}` comes with {distribution}: pip install {distribution}")
    raise UnknownCommandError(_unknown(name))


def summaries() -> dict[str, str]:
    """Return each command with what it does, in the order of `tetrad --help`."""
    found = {name: builtin.summary for name, builtin in BUILTINS.items()}
    installed = {point.name for point in entry_points(group=GROUP)}
    for name, command in FROM_SERVICES.items():
        hint = "" if name in installed else f"  (pip install {command.distribution})"
        found[name] = command.summary + hint
    for name in sorted(installed - set(found)):
        found[name] = "from another distribution"
    return found


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    known = list(summaries())
    guess = get_close_matches(name, known, n=1)
    hint = f"did you mean {guess[0]}?" if guess else f"commands are {', '.join(known)}"
    return f"there is no command {name!r}; {hint}"
