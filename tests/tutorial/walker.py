"""Executes the tutorial's blocks, one after the other, and keeps what they did."""

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from typing import Final

import yaml

from tutorial.blocks import Block
from tutorial.commands import joined
from tutorial.server import ask_tensorboard
from tutorial.small_runs import SmallRuns
from tutorial.treatment import TREATMENTS, Kind
from tutorial.walk import BRIEF, FIXES, LAST_STEP, RUN_FILE, STEPS, Walk
from tutorial.workshop import Done

MAIN: Final = "python -m skyrl_train.entrypoints.main_base --config-path . --config-name"
WITH_WANDB, EVALUATES = 22, 16
# Part 7 wants eight GPUs, and there are seldom so many; resolved and planned, not run, where there are fewer.
MANY_GPUS: Final = 21


class Walker:
    """Takes a walk."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._shop = walk.workshop
        self._runs = SmallRuns(walk.workshop, walk.machine)
        self._by_kind: Mapping[Kind, Callable[[Block], None]] = {
            Kind.SHELL: self._shell,
            Kind.TRAIN: self._train,
            Kind.LINES: self._lines,
            Kind.SYNC: self._sync,
            Kind.SERVER: self._server,
            Kind.PYTHON: self._python,
            Kind.RUN_FILE: self._run_file,
            Kind.OVERLAY: self._overlay,
            Kind.WORDS: self._words,
        }

    def take(self) -> None:
        """Execute every block; one that fails is noted, and the next one is tried."""
        for block in self._walk.blocks:
            treatment = TREATMENTS[block.number]
            execute = self._by_kind.get(treatment.kind)
            if execute is None:
                self._walk.skipped[block.number] = treatment.note or treatment.kind.value
                continue
            try:
                execute(block)
            except Exception as error:  # whatever a block does, the table says so
                self._walk.failed[block.number] = f"{type(error).__name__}: {error}"

    def _shell(self, block: Block) -> None:
        self._walk.done[block.number] = self._shop.run(block.text).succeeded()

    def _lines(self, block: Block) -> None:
        for line in joined(block.text):
            if "import sglang" in line and not self._walk.machine.has_sglang:
                self._walk.skipped[block.number] = "needs a GPU: sglang is not in this environment"
            else:
                self._walk.done[block.number] = self._shop.run(line).succeeded()

    def _sync(self, block: Block) -> None:
        first, *others = joined(block.text)
        self._walk.done[block.number] = self._shop.run(f"{first} --dry-run --python {sys.executable}")
        self._shop.run('ln -s "$(dirname "$(dirname "$(command -v python)")")" .venv').succeeded()
        self._shop.run("\n".join(others)).succeeded()

    def _server(self, block: Block) -> None:
        self._walk.scalars = ask_tensorboard(block.text, cwd=self._shop.cwd, variables=self._shop.variables)

    def _python(self, block: Block) -> None:
        self._walk.goes_on = self._train_to(self._walk.block(9), LAST_STEP)
        text = block.text
        for printed, fixed in FIXES:
            assert printed in text, f"{printed} is no longer in block {block.number}"
            text = text.replace(printed, fixed)
        self._walk.done[block.number] = self._python_program(text)

    def _python_program(self, text: str) -> Done:
        (self._shop.cwd / "block.py").write_text(text, encoding="utf-8")
        return self._shop.run("python block.py").succeeded()

    def _run_file(self, block: Block) -> None:
        (self._shop.cwd / f"{RUN_FILE}.yaml").write_text(block.text, encoding="utf-8")

    def _train(self, block: Block) -> None:
        if block.number in STEPS:
            self._walk.done[block.number] = self._train_to(block, STEPS[block.number])
        elif block.number == EVALUATES:
            self._walk.tree_before = self._tree()
            self._walk.done[block.number] = self._runs.run(block.text)
            self._walk.tree_after = self._tree()
        else:
            name = self._save_overlay(self._walk.block(WITH_WANDB))
            text = block.text.replace("main_base ...", f"main_base --config-path . --config-name {name}")
            self._walk.done[block.number] = self._runs.run(text, *BRIEF)

    def _train_to(self, block: Block, steps: int) -> Done:
        return self._runs.run(block.text, f"trainer.max_steps={steps}")

    def _overlay(self, block: Block) -> None:
        name = self._save_overlay(block)
        if block.number == WITH_WANDB:
            return
        if block.number == MANY_GPUS and self._walk.machine.num_gpus < 8:
            done = self._shop.run(f"tetrad plan --config-path . --config-name {name}").succeeded()
            self._walk.skipped[block.number] = "needs 8 GPUs; resolved and planned"
        else:
            done = self._runs.run(f"{MAIN} {name}", *BRIEF, f"trainer.run_name={name}")
        self._walk.done[block.number] = done

    def _save_overlay(self, block: Block) -> str:
        """Write a run file that lays the block over that of Part 3."""
        name = overlay_name(block)
        head = yaml.safe_dump({"defaults": [RUN_FILE, "_self_"]})
        (self._shop.cwd / f"{name}.yaml").write_text(head + block.text, encoding="utf-8")
        return name

    def _words(self, block: Block) -> None:
        text = f"{MAIN} {RUN_FILE} {block.text}"
        if not self._walk.machine.has_gpu:
            self._walk.done[block.number] = self._shop.run(f"{text.strip()} --show-config").succeeded()
            self._walk.skipped[block.number] = "needs a GPU; resolved"
            return
        self._walk.done[block.number] = self._runs.run(text, *BRIEF, "trainer.run_name=flashinfer")

    def _tree(self) -> Mapping[str, str]:
        """Digests of the files of the run and of its checkpoints; lock and sockets are nobody's results."""
        folders = (self._walk.outputs(), self._shop.home / "ckpts")
        files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def overlay_name(block: Block) -> str:
    """Return a name for the run file of a block.

    >>> overlay_name(Block(number=18, language="yaml", text="", line=1, heading="7.2: Use Different Algorithm"))
    'part-18-use-different-algorithm'
    """
    words = re.sub(r"[^a-z]+", "-", block.heading.lower()).strip("-")
    return f"part-{block.number}-{words}"
