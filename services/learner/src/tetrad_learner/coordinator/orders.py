"""What each rank is told to execute of a sealed step, by the run's configuration: one place for run and replay."""

from tetrad_config import RunConfig
from tetrad_learner.coordinator.rows import rows_of_ranks
from tetrad_learner.coordinator.shaping import shaping_of
from tetrad_trajectories.journal import JournalStep
from tetrad_wire.messages.steps import ExecuteStep


def step_orders(step: JournalStep, config: RunConfig, *, lineage: int, world_size: int) -> list[ExecuteStep]:
    """Return one order for each rank. Hashes the whole batch: use a thread."""
    return rows_of_ranks(
        step, lineage=lineage, batch_hash=step.hash(), world_size=world_size, shaping=shaping_of(config)
    )
