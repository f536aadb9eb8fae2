"""The trainer of one rank, as its shell sees it: create, execute, export, save, load, close.

Owns the loaded model and its optimizer. Every method is collective: all ranks call the same methods in the same
order. Must not know of sockets, the ledger, versions or the run file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.checkpoint import load_trainer_state, save_trainer_state
from tetrad_learner.trainer.export import Placement, WeightShape, fill, weight_shapes
from tetrad_learner.trainer.hf_folder import save_hf_folder
from tetrad_learner.trainer.model import load_policy, resolve_folder
from tetrad_learner.trainer.optimizer import PolicyOptimizer
from tetrad_learner.trainer.options import CheckpointPosition, TrainerOptions
from tetrad_learner.trainer.policy import Policy
from tetrad_learner.trainer.progress import OnProgress, Progress
from tetrad_learner.trainer.ranks import Ranks, join, leave
from tetrad_learner.trainer.step import StepResult, TrainingStep


def unheard(progress: Progress) -> None:
    """Report progress to nobody."""


class Trainer:
    """Model, optimizer and objective of one rank."""

    def __init__(
        self, *, options: TrainerOptions, ranks: Ranks, source: Path, policy: Policy, reference: Policy | None
    ) -> None:
        self.ranks = ranks
        self._options, self._source, self._policy = options, source, policy
        self._optimizer = PolicyOptimizer(policy.causal_lm.named_parameters(), options=options.optimizer)
        self._step = TrainingStep(
            policy=policy,
            reference=reference,
            optimizer=self._optimizer,
            options=options,
            ranks=ranks,
        )

    @classmethod
    def create(cls, options: TrainerOptions) -> Self:
        """Join the ranks that torchrun started (RANK, WORLD_SIZE, …), load the model and shard it."""
        ranks = join(device=options.device, timeout_s=options.collective_timeout_s)
        torch.manual_seed(options.seed + ranks.rank)
        source = resolve_folder(options.model_path, ranks)
        policy = load_policy(source, options=options, ranks=ranks, is_trained=True)
        reference = _load_reference(options, ranks)
        return cls(options=options, ranks=ranks, source=source, policy=policy, reference=reference)

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps taken so far in the run."""
        return self._optimizer.steps_taken

    def execute(self, batch: StepBatch, *, on_progress: OnProgress = unheard) -> StepResult:
        """Train on the batch; see TrainingStep.execute for what it raises."""
        return self._step.execute(batch, on_progress=on_progress)

    def weight_shapes(self) -> tuple[WeightShape, ...]:
        """Return names, dtypes and whole shapes of the weights in Hugging Face order; not collective."""
        return weight_shapes(self._policy)

    def export_into(self, buffer: memoryview | NDArray[np.uint8] | None, layout: Sequence[Placement]) -> None:
        """Copy all weights into rank 0's buffer at their places; the other ranks pass None."""
        fill(self._policy, buffer=buffer, layout=layout)

    def save(self, folder: Path, *, step: int, lineage: int) -> None:
        """Write a checkpoint into `folder`: a Hugging Face folder plus `trainer/`."""
        position = CheckpointPosition(step=step, lineage=lineage, optimizer_steps=self._optimizer.steps_taken)
        save_hf_folder(
            self._policy,
            folder=folder,
            source=self._source,
            dtype=self._options.compute_dtype,
            ranks=self.ranks,
        )
        save_trainer_state(folder, policy=self._policy, optimizer=self._optimizer, position=position, ranks=self.ranks)

    def load(self, folder: Path) -> CheckpointPosition:
        """Restore weights, moments, schedule and random state from a checkpoint of any number of ranks."""
        return load_trainer_state(folder, policy=self._policy, optimizer=self._optimizer, ranks=self.ranks)

    def close(self) -> None:
        """Leave the process group; nothing may be called afterwards."""
        leave()


def _load_reference(options: TrainerOptions, ranks: Ranks) -> Policy | None:
    """A frozen copy of the initial weights, only where a KL loss asks for one."""
    if not options.algorithm.use_kl_loss:
        return None
    return load_policy(resolve_folder(options.reference, ranks), options=options, ranks=ranks, is_trained=False)
