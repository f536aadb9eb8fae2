"""The journal: one Parquet file for each sealed step.

Owns the file's columns, its hash and its retention. Knows neither ledger nor ranks: events are opaque JSON here.
"""

from tetrad_trajectories.journal.file import read_step, write_step
from tetrad_trajectories.journal.folder import list_steps, prune, step_path
from tetrad_trajectories.journal.step import JournalSample, JournalStep, Place, places

__all__ = [
    "JournalSample",
    "JournalStep",
    "Place",
    "list_steps",
    "places",
    "prune",
    "read_step",
    "step_path",
    "write_step",
]
