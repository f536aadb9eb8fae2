"""From the command line to a run that this machine can run, or a refusal that says what to change.

Owns no process. Reads the run file and looks at the machine, both through tetrad_config.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tetrad_cli.architecture import refuse_other_architecture
from tetrad_cli.disk_budget import DiskBudget, disk_budget
from tetrad_cli.joining import reachable
from tetrad_cli.places import BIND
from tetrad_cli.run_options import RunOptions
from tetrad_config import (
    LoadedConfig,
    RunConfig,
    check_machine,
    commands_to_run,
    dump_resolved,
    load,
    overrides_to_run,
    probe_machine,
)
from tetrad_runtime.exits import ConfigFault
from tetrad_trajectories.checkpoint import MANIFEST, verify
from tetrad_trajectories.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may be started."""

    loaded: LoadedConfig
    disk: DiskBudget
    skip_step: int | None = None
    """Poisoned training step that the run goes on without."""
    listen: str | None = None
    """Endpoint at which other hosts reach the run."""

    @property
    def config(self) -> RunConfig:
        """The resolved run file."""
        return self.loaded.config

    @property
    def run_dir(self) -> Path:
        """Where the run lives, absolute."""
        return self.config.trainer.run_dir.resolve()

    def write_config(self) -> None:
        """Write what every service reads; a reader sees the old file or the new one."""
        new = self.run_dir / "config.yaml.new"
        new.write_text(dump_resolved(self.config, self.loaded.origins))
        new.replace(self.run_dir / "config.yaml")


def prepare(options: RunOptions, *, environ: Mapping[str, str]) -> Prepared:
    """Load the run file and check the machine.

    Raises:
        ConfigError: the run file is wrong.
        ConfigFault: the machine lacks what it asks for; the text has the overrides that make it run. Or the model is a
            checkpoint that is damaged, or goes on from one of another model.
    """
    loaded = load(options.overrides, config_path=options.config_path, config_name=options.config_name, environ=environ)
    refusals = check_machine(loaded.config, probe_machine(loaded.config, environ), origins=loaded.origins)
    if refusals:
        fixes = [*commands_to_run(refusals), _again(overrides_to_run(refusals))]
        lines = [f"  {refusal}" for refusal in refusals] + [f"  to run it here: {fix}" for fix in fixes if fix]
        raise ConfigFault("this machine cannot run it as it is:\n" + "\n".join(lines))
    _refuse_damaged(Path(loaded.config.trainer.policy.model.path))
    refuse_other_architecture(loaded.config)
    disk = disk_budget(loaded.config)
    disk.refuse()
    return Prepared(loaded, disk, options.skip_step, _listen(options, loaded.config, environ))


def _listen(options: RunOptions, config: RunConfig, environ: Mapping[str, str]) -> str | None:
    if options.listen is not None:
        return reachable(options.listen, environ)
    if (num_hosts := config.trainer.placement.policy_num_nodes) > 1 and BIND not in environ:
        raise ConfigFault(
            f"trainer.placement.policy_num_nodes={num_hosts}: say where the other hosts reach this one, with --listen "
            "tcp://ADDRESS:PORT, and start `tetrad agent --join` on them"
        )
    return None


def _refuse_damaged(model: Path) -> None:
    if not (model / MANIFEST).is_file():
        return
    try:
        verify(model)
    except CheckpointError as error:
        raise ConfigFault(f"trainer.policy.model.path: {error}; choose another checkpoint") from error


def _again(overrides: tuple[str, ...]) -> str:
    return f"the same command with {shlex.join(overrides)}" if overrides else ""
