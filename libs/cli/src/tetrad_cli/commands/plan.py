"""`tetrad plan`: the arithmetic of a run, before anything loads. Needs no model, GPU or network."""

import argparse
import os
import sys
from collections.abc import Sequence

from tetrad_cli.run_options import RunOptions, add_run_options, parse_run_options


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tetrad plan", description="Print what a run amounts to: samples, optimizer steps, disk, memory."
    )
    add_run_options(parser)
    options, _arguments = parse_run_options(parser, argv)
    from tetrad_config import ConfigError
    from tetrad_runtime.exits import ExitCode

    try:
        _print_plan(options)
    except ConfigError as error:
        print(f"tetrad: {error}", file=sys.stderr)
        return int(ExitCode.CONFIG)
    return 0


def _print_plan(options: RunOptions) -> None:
    from tetrad_cli.planned import empty_files, planned
    from tetrad_config import check_machine, gpu_uses, load, num_parameters, probe_machine, render, visible_gpus
    from tetrad_config.role_use import role_uses

    loaded = load(
        options.overrides, config_path=options.config_path, config_name=options.config_name, environ=os.environ
    )
    config = loaded.config
    found = planned(config)
    critic_path = config.trainer.critic.model.path
    critic = None if critic_path is None else num_parameters(critic_path)
    gpus = gpu_uses(config, found, visible=visible_gpus(os.environ), critic_parameters=critic)
    print(render(found, gpus, role_uses(config, found, critic_parameters=critic)))
    for notice in loaded.notices:
        print(f"note: {notice}")
    for file in empty_files(config.data.train_data):
        print(f"note: {file} of data.train_data has no rows; the run trains on the other files")
    for refusal in check_machine(config, probe_machine(config, os.environ), origins=loaded.origins):
        print(f"this machine cannot run it: {refusal}")
