"""Shows a run while it goes on: a live panel on a terminal, plain lines elsewhere, the result at the end.

Owns the terminal. Runs on the launcher's event loop, so it starts no thread.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from tetrad_cli.live.metrics_file import MetricsFile
from tetrad_cli.live.progress import Progress
from tetrad_cli.live.record import Record
from tetrad_cli.live.summary import one_line

PERIOD_S: Final = 0.25
# Without a terminal, --live prints every tenth step.
PLAIN_PERIOD_STEPS: Final = 10


class LiveView:
    """The picture of one run."""

    def __init__(self, run_dir: Path, *, title: str, steps: int | None) -> None:
        self._title = title
        self._summary_path = run_dir / "summary.json"
        self._began = time.time()
        self._progress = Progress(total_steps=steps, began_at=self._began)
        self._file = MetricsFile(run_dir / "metrics.jsonl")
        self._file.skip_present()

    async def show(self, is_over: asyncio.Event) -> None:
        """Show the panel until the run is over; lines where there is no terminal."""
        if not sys.stdout.isatty():
            await self._print(is_over, period_steps=PLAIN_PERIOD_STEPS)
            return
        from rich.live import Live

        from tetrad_cli.live.panel import draw

        # No refresh thread: a thread would make the launcher's forks unsafe.
        with Live(draw(self._progress, title=self._title), auto_refresh=False) as live:
            async for records in self._batches(is_over):
                for record in records:
                    self._progress.add(record)
                live.update(draw(self._progress, title=self._title), refresh=True)

    async def print_steps(self, is_over: asyncio.Event) -> None:
        """Print each step in the tutorial's format until the run is over."""
        await self._print(is_over, period_steps=1)

    def print_result(self) -> None:
        """Print what the learner summed up, if it did so in this run."""
        try:
            is_ours = self._summary_path.stat().st_mtime >= self._began
            summary = json.loads(self._summary_path.read_text()) if is_ours else None
        except (FileNotFoundError, ValueError):
            return
        if isinstance(summary, dict):
            print(f"{self._title}: {one_line(summary)}")

    async def _print(self, is_over: asyncio.Event, *, period_steps: int) -> None:
        async for records in self._batches(is_over):
            for record in records:
                if _is_due(record, period_steps):
                    print(record.line(), flush=True)

    async def _batches(self, is_over: asyncio.Event) -> AsyncIterator[list[Record]]:
        while not is_over.is_set():
            yield self._file.added()
            try:
                async with asyncio.timeout(PERIOD_S):
                    await is_over.wait()
            except TimeoutError:
                continue
        yield self._file.added()


def _is_due(record: Record, period_steps: int) -> bool:
    return record.step % period_steps == 0 or record.has_evaluation
