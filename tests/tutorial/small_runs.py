"""Printed commands, run small: what is printed, then words that make it small, then those that the product asks for."""

from pathlib import Path
from typing import Final

from tetrad_runtime.exits import ExitCode
from tetrad_trajectories.dataset import Dataset
from tetrad_trajectories.rows_file import write_rows
from tutorial.commands import fix_in, with_words
from tutorial.machine import NUM_VALIDATION_ROWS, Machine
from tutorial.workshop import Done, Workshop

DATA: Final = Path("data") / "gsm8k"
"""Where tutorials put GSM8K, below the home."""


class SmallRuns:
    """Runs commands in a workshop."""

    def __init__(self, workshop: Workshop, machine: Machine) -> None:
        self._workshop, self._machine = workshop, machine
        self.refused: list[Done] = []
        """Commands that this machine could not run as they were, and that said how it could."""

    def run(self, text: str, *further: str) -> Done:
        """Run a block; raises AssertionError with its last words where it fails."""
        words = self._machine.words(self._validation(), *further)
        done = self._workshop.run(with_words(text, words))
        if done.code == ExitCode.CONFIG and (fix := fix_in(done.err)) is not None:
            self.refused.append(done)
            done = self._workshop.run(with_words(text, [*words, *fix]))
        return done.succeeded()

    def _validation(self) -> Path:
        """A few rows: evaluation on a CPU need not take all 1,319 problems."""
        folder = self._workshop.home / DATA
        few = folder / "few.parquet"
        if not few.exists():
            rows = Dataset.read([folder / "validation.parquet"])
            write_rows(few, [rows[index] for index in range(NUM_VALIDATION_ROWS)])
        return few
