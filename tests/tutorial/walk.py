"""What happened on a walk through the tutorial, and what the walk is given."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tutorial.blocks import Block
from tutorial.machine import Machine
from tutorial.workshop import Done, Workshop

RUN_FILE: Final = "my_training_config"
RUN: Final = "sglang-grpo"
"""Its `trainer.run_name`."""
STEPS: Final[Mapping[int, int]] = {9: 30, 10: 2}
"""Training steps of the runs of Part 4."""
LAST_STEP: Final = 50
"""The checkpoint that Part 6 loads: the run of Part 4 goes on to it."""
BRIEF: Final = (
    "trainer.max_steps=2",
    "trainer.eval_before_train=false",
    "trainer.eval_interval=-1",
    "trainer.ckpt_interval=-1",
    "trainer.ckpt_path=null",
)
"""Two steps, for the customizations of Parts 7 and 8."""
FIXES: Final = (
    ('"~/ckpts/global_step_50"', '__import__("os").path.expanduser("~/ckpts/global_step_50")'),
    ('return_tensors="pt")', 'return_tensors="pt", add_generation_prompt=True, return_dict=False)'),
    ("temperature=0.0)", "do_sample=False)"),
)
"""What the Python block of Part 6 needs to do what it says, whoever made the checkpoint."""


@dataclass(slots=True)
class Walk:
    """A walk and what it came to."""

    machine: Machine
    workshop: Workshop
    blocks: Sequence[Block]
    done: dict[int, Done] = field(default_factory=dict)
    """Block → what it did, where it was run."""
    skipped: dict[int, str] = field(default_factory=dict)
    """Block → why it was not, or not wholly."""
    failed: dict[int, str] = field(default_factory=dict)
    """Block → what went wrong."""
    goes_on: Done | None = None
    """The run of Part 4, taken from step 30 to step 50."""
    scalars: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What TensorBoard has, by run."""
    tree_before: Mapping[str, str] = field(default_factory=dict)
    """Digests of the run's files and checkpoints before they are evaluated."""
    tree_after: Mapping[str, str] = field(default_factory=dict)

    def block(self, number: int) -> Block:
        """Return a block by its number."""
        return self.blocks[number - 1]

    def result(self, number: int) -> Done:
        """Return what a block did; raises AssertionError with its reason where it did not."""
        assert number in self.done, self.failed.get(number) or f"block {number} was not run"
        return self.done[number]

    def outputs(self, name: str = RUN) -> Path:
        """Return the folder of a run."""
        return self.workshop.cwd / "outputs" / name

    def metrics(self, name: str = RUN) -> dict[int, dict[str, float]]:
        """Return what a run logged, by step."""
        steps: dict[int, dict[str, float]] = {}
        for line in (self.outputs(name) / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
            record: dict[str, Any] = json.loads(line)
            steps.setdefault(record["step"], {}).update(record["metrics"])
        return steps
