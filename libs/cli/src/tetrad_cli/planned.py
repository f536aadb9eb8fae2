"""A run's plan with what lies on this machine: rows of its files, parameters of its model. Starts and loads nothing."""

from collections.abc import Sequence
from pathlib import Path

from tetrad_config import Plan, RunConfig, num_parameters, plan
from tetrad_config.known_shapes import estimated_layers
from tetrad_config.model_size import linear_layers, num_adapter_parameters


def planned(config: RunConfig) -> Plan:
    """Work the run out; raises what `plan` does, and DatasetError for a file that cannot be read."""
    policy = config.trainer.policy.model
    parameters = num_parameters(policy.path)
    found = linear_layers(policy.path)
    layers = estimated_layers(policy.path, parameters=parameters) if found is None else found
    adapters = None if layers is None else num_adapter_parameters(layers, policy.lora)
    return plan(
        config,
        count_rows(config.data.train_data),
        num_validation_rows=count_rows(config.data.val_data),
        parameters=parameters,
        adapter_parameters=adapters,
        is_estimate=found is None and bool(adapters),
    )


def count_rows(files: Sequence[str]) -> int | None:
    """Return the rows of dataset files; None where one of them is not here."""
    if not files or not all(Path(file).is_file() for file in files):
        return None
    from tetrad_trajectories.sources import num_records

    return sum(num_records(Path(file)) for file in files)


def empty_files(files: Sequence[str]) -> list[str]:
    """Return the files that are here and have no row, where others have some."""
    empty = [file for file in files if Path(file).is_file() and count_rows([file]) == 0]
    return empty if len(empty) < len(files) else []
