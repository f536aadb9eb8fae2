"""A tutorial of our own, executed: what a block is for stands in the comment above it, where its language does not say.

| comment | the block is |
|---|---|
| none | bash or python: executed |
| `file: NAME` | saved |
| `shape of: FILE` | a literal with the columns of the file's first row |
| `printed by: COMMAND` | lines whose names the last training printed |
| `server` | started, asked, stopped |
| `not run: REASON` | not executed |
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tetrad_trajectories.dataset import Dataset
from tutorial.blocks import Block
from tutorial.run_promises import lines_in
from tutorial.server import ask_tensorboard
from tutorial.small_runs import SmallRuns
from tutorial.workshop import Workshop

BRIEF: Final = ("trainer.max_steps=2", "trainer.eval_interval=2")
EXECUTED: Final = frozenset({"bash", "python"})


def purpose_of(block: Block) -> tuple[str, str]:
    """Return what a block is for, and of what; raises ValueError where nothing says so.

    >>> purpose_of(Block(number=1, language="yaml", text="", line=1, heading="", remark="file: my.yaml"))
    ('file', 'my.yaml')
    """
    purpose, _, argument = block.remark.partition(": ")
    if not purpose and block.language in EXECUTED:
        return block.language, ""
    if purpose not in PURPOSES:
        raise ValueError(f"line {block.line}: a block of {block.language or 'output'} needs a comment: {PURPOSES}")
    return purpose, argument


PURPOSES: Final = ("file", "shape of", "printed by", "server", "not run")


class OwnPage:
    """Executes the blocks of a page, each where the last one ended."""

    def __init__(self, workshop: Workshop, runs: SmallRuns) -> None:
        self._workshop, self._runs = workshop, runs
        self._printed: dict[int, list[str]] = {}
        self._by_purpose: Mapping[str, Callable[[Block, str], None]] = {
            "bash": self._bash,
            "python": self._python,
            "file": self._file,
            "shape of": self._shape,
            "printed by": self._output,
            "server": self._server,
        }

    def execute(self, block: Block) -> str:
        """Execute one block; returns why it was not, or nothing."""
        purpose, argument = purpose_of(block)
        if purpose == "not run":
            return argument
        self._by_purpose[purpose](block, argument)
        return ""

    def _bash(self, block: Block, _argument: str) -> None:
        done = self._runs.run(block.text, *BRIEF) if "tetrad train" in block.text else self._workshop.run(block.text)
        assert done.succeeded().out.strip(), f"line {block.line} printed nothing"
        self._printed = lines_in(done.out) or self._printed

    def _python(self, block: Block, _argument: str) -> None:
        (self._workshop.cwd / "block.py").write_text(block.text, encoding="utf-8")
        self._workshop.run("python block.py").succeeded()

    def _file(self, block: Block, name: str) -> None:
        (self._workshop.cwd / name).write_text(block.text, encoding="utf-8")

    def _shape(self, block: Block, path: str) -> None:
        printed: dict[str, Any] = eval(block.text, {"__builtins__": {}})
        row = Dataset.read([Path(path.replace("~", str(self._workshop.home)))])[0]
        record = row.record()
        assert record.keys() >= printed.keys(), record
        for name in ("reward_spec", "extra_info"):
            assert set(record[name]) == set(printed[name]), record[name]
        assert [one.role for one in row.prompt] == [one["role"] for one in printed["prompt"]]

    def _output(self, block: Block, _command: str) -> None:
        for step, names in lines_in(block.text).items():
            assert set(names) <= set(self._printed.get(step, [])), self._printed

    def _server(self, block: Block, _argument: str) -> None:
        assert ask_tensorboard(block.text, cwd=self._workshop.cwd, variables=self._workshop.variables)
