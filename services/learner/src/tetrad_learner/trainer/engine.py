"""The trainer of one rank, as its shell sees it: create, execute, export, save, load, close.

Owns the loaded model and its optimizer. Every method is collective: all ranks call the same methods in the same
order. Must not know of sockets, the ledger, versions or the run file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.canary import canary_logprobs
from tetrad_learner.trainer.checkpoint import copy_trainer_state, live_tensors, load_trainer_state
from tetrad_learner.trainer.checkpoint_copy import CheckpointCopy, writing_group
from tetrad_learner.trainer.critic import Critic, load_critic
from tetrad_learner.trainer.diagnosis import FirstStrange, strange_tensors, watched
from tetrad_learner.trainer.errors import CheckpointError
from tetrad_learner.trainer.export import DeviceExport, Part, Placement, WeightShape, fill, weight_shapes
from tetrad_learner.trainer.fingerprint import bit_sum
from tetrad_learner.trainer.hf_folder import copy_hf_weights
from tetrad_learner.trainer.model import free_gathered, load_policy, resolve_folder
from tetrad_learner.trainer.optimizer import PolicyOptimizer
from tetrad_learner.trainer.options import CheckpointPosition, TrainerOptions
from tetrad_learner.trainer.passes import Models
from tetrad_learner.trainer.policy import Policy, named_weights
from tetrad_learner.trainer.progress import OnProgress, Progress
from tetrad_learner.trainer.ranks import Ranks, join, leave
from tetrad_learner.trainer.reference import Reference
from tetrad_learner.trainer.residence import Residence
from tetrad_learner.trainer.step import Optimizers, StepResult, TrainingStep

if TYPE_CHECKING:
    from peft import LoraConfig

CRITIC_STEPS: Final = "critic_optimizer_steps"
KL_COEFFICIENT: Final = "kl_coefficient"
REFERENCE_MOVES: Final = "reference_moves"
BASE_SUM: Final = "base_bit_sum"


def unheard(progress: Progress) -> None:
    """Report progress to nobody."""


class Trainer:
    """Model, optimizer and objective of one rank."""

    def __init__(
        self,
        *,
        options: TrainerOptions,
        ranks: Ranks,
        source: Path,
        policy: Policy,
        reference: Reference | None,
        critic: Critic | None = None,
    ) -> None:
        self.ranks = ranks
        self._options, self._source, self._policy, self._reference = options, source, policy, reference
        self._writing_group: dist.ProcessGroup | None = None
        # No checkpoint holds the base of adapters: it must be the same when they are loaded.
        self._base_sum = None if policy.adapters is None else bit_sum((w for _, w in named_weights(policy)), ranks)
        self._optimizer = PolicyOptimizer(policy.causal_lm.named_parameters(), options=options.optimizer)
        self._critic, self._critic_optimizer = critic, _critic_optimizer(critic, options)
        self._device_exports: dict[Part, DeviceExport] = {}
        self._residence = Residence(self._held, device=ranks.device)
        self._step = TrainingStep(
            models=Models(policy=policy, reference=reference, critic=critic),
            optimizers=Optimizers(policy=self._optimizer, critic=self._critic_optimizer),
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
        reference = _reference(policy, options, ranks)
        critic = None if options.critic is None else load_critic(options.critic, options=options, ranks=ranks)
        return cls(options=options, ranks=ranks, source=source, policy=policy, reference=reference, critic=critic)

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps taken so far in the run."""
        return self._optimizer.steps_taken

    def execute(self, batch: StepBatch, *, on_progress: OnProgress = unheard) -> StepResult:
        """Train on the batch; see TrainingStep.execute for what it raises."""
        self._residence.require_here()
        if self._reference is not None:
            self._reference.catch_up(self._policy, step=batch.step)
        return self._step.execute(batch, on_progress=on_progress)

    @property
    def adapter_config(self) -> LoraConfig | None:
        """What the adapters are; None without."""
        return None if self._policy.adapters is None else self._policy.adapters.config

    def weight_shapes(self, part: Part = Part.MERGED) -> tuple[WeightShape, ...]:
        """Return names, dtypes and whole shapes of what is exported, in Hugging Face order; not collective."""
        return weight_shapes(self._policy, part)

    def canary(self, ids: Sequence[int]) -> list[float]:
        """Return the policy's log-probability of each of `ids` after them all, at temperature 1; collective."""
        self._residence.require_here()
        return canary_logprobs(self._policy, ids, layout=self._options.row_layout, device=self.ranks.device)

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: token ids lie below."""
        return self._policy.vocabulary

    def export_into(
        self,
        buffer: memoryview | NDArray[np.uint8] | None,
        layout: Sequence[Placement],
        *,
        part: Part = Part.MERGED,
    ) -> None:
        """Copy all weights into rank 0's buffer at their places; the other ranks pass None."""
        self._residence.require_here()
        fill(self._policy, buffer=buffer, layout=layout, part=part)

    def export_on_device(self, buffer: Tensor, layout: Sequence[Placement], *, part: Part = Part.MERGED) -> None:
        """Copy all weights to their places in uint8 memory on this rank's GPU; every rank passes memory of its own."""
        self._residence.require_here()
        export = self._device_exports.get(part)
        if export is None or export.layout is not layout:
            self._device_exports[part] = export = DeviceExport(self._policy, layout=layout, part=part)
        export.fill(buffer)

    def copy(self, *, step: int, lineage: int) -> CheckpointCopy:
        """Copy what a checkpoint holds; training may go on while the copy is written by another thread."""
        self._residence.require_here()
        position = CheckpointPosition(
            step=step, lineage=lineage, optimizer_steps=self._optimizer.steps_taken, numbers=self._numbers()
        )
        return CheckpointCopy(
            hf=copy_hf_weights(self._policy, source=self._source, dtype=self._options.compute_dtype, ranks=self.ranks),
            trainer=copy_trainer_state(self._tensors(), position, self.ranks),
            group=self._writers(),
        )

    def offload(self) -> int:
        """Bring all that this rank holds to the host and free its GPU; return the bytes that were moved.

        Gradients are forgotten. Without a GPU there is nothing to free: 0. Repeating it is safe.
        """
        if self.ranks.device.type == "cpu":
            return 0
        for optimizer in (self._optimizer, self._critic_optimizer):
            if optimizer is not None:
                optimizer.forget()
        for model in self._models():
            free_gathered(model)
        return self._residence.offload()

    def load_back(self) -> int:
        """Bring it back to where this rank computes, bit for bit; return the bytes. Repeating it is safe."""
        return self._residence.load_back()

    def save(self, folder: Path, *, step: int, lineage: int) -> None:
        """Write a checkpoint into `folder`: a Hugging Face folder plus `trainer/`."""
        self.copy(step=step, lineage=lineage).write(folder)

    def load(self, folder: Path) -> CheckpointPosition:
        """Restore weights, moments, schedule and random state from a checkpoint of any number of ranks.

        Raises CheckpointError where it is none of this model.
        """
        position = load_trainer_state(folder, self._tensors(), self.ranks)
        self._check_base(folder, position)
        self._optimizer.restore(steps_taken=position.optimizer_steps)
        if self._critic_optimizer is not None:
            self._critic_optimizer.restore(steps_taken=int(position.numbers[CRITIC_STEPS]))
        if KL_COEFFICIENT in position.numbers:
            self._step.rewards.restore(position.numbers[KL_COEFFICIENT])
        if self._reference is not None:
            self._reference.num_moves = int(position.numbers.get(REFERENCE_MOVES, 0))
        return position

    def strange_tensors(self) -> list[str]:
        """Name this rank's weights and gradients that are not finite; not collective."""
        of_critic = () if self._critic is None else strange_tensors(self._critic)
        return [*strange_tensors(self._policy.causal_lm), *(f"critic's {name}" for name in of_critic)]

    def watched(self) -> AbstractContextManager[FirstStrange]:
        """Within the body, find the first module whose output is not finite on this rank."""
        return watched(self._policy.causal_lm)

    def close(self) -> None:
        """Leave the process group; nothing may be called afterwards."""
        leave()

    def _models(self) -> Iterator[nn.Module]:
        yield self._policy
        if self._reference is not None and self._reference.model is not self._policy:
            yield self._reference.model
        if self._critic is not None:
            yield self._critic

    def _held(self) -> Iterator[Tensor]:
        """Everything that stays from step to step: weights, buffers and moments."""
        for model in self._models():
            yield from model.parameters()
            yield from model.buffers()
        for optimizer in (self._optimizer, self._critic_optimizer):
            if optimizer is not None:
                yield from optimizer.moments().values()

    def _tensors(self) -> dict[str, Tensor]:
        """All live tensors of a checkpoint."""
        tensors = live_tensors(self._policy, self._optimizer)
        if self._reference is not None and self._reference.is_moving:
            tensors |= {f"reference.{name}": tensor.detach() for name, tensor in self._reference.named_tensors()}
        if self._critic is None or self._critic_optimizer is None:
            return tensors
        weights = {f"critic.{name}": tensor.detach() for name, tensor in self._critic.named_tensors()}
        moments = {f"critic_optimizer.{name}": moment for name, moment in self._critic_optimizer.moments().items()}
        return tensors | weights | moments

    def _numbers(self) -> dict[str, float]:
        """What a checkpoint holds beside tensors and the policy's optimizer steps."""
        numbers = {KL_COEFFICIENT: self._step.rewards.coefficient}
        if self._critic_optimizer is not None:
            numbers[CRITIC_STEPS] = float(self._critic_optimizer.steps_taken)
        if self._reference is not None:
            numbers[REFERENCE_MOVES] = float(self._reference.num_moves)
        if self._base_sum is not None:
            numbers[BASE_SUM] = self._base_sum
        return numbers

    def _check_base(self, folder: Path, position: CheckpointPosition) -> None:
        if self._base_sum is not None and self._base_sum != position.numbers.get(BASE_SUM):
            raise CheckpointError(
                f"the adapters in {folder} were trained on other weights than those of {self._options.model_path}; "
                "set trainer.policy.model.path to the model that their run began with"
            )

    def _writers(self) -> dist.ProcessGroup:
        """The ranks as a group of their own, made once: writing and training must not hear each other's collectives."""
        if self._writing_group is None:
            self._writing_group = writing_group()
        return self._writing_group


def _reference(policy: Policy, options: TrainerOptions, ranks: Ranks) -> Reference | None:
    """A frozen copy of the initial weights, or the base below the adapters, where a divergence from it is asked for."""
    if not options.algorithm.needs_reference:
        return None
    if options.is_reference_inside:
        return Reference(policy, interval=0)
    model = load_policy(resolve_folder(options.reference, ranks), options=options, ranks=ranks, is_trained=False)
    return Reference(model, interval=options.reference_interval)


def _critic_optimizer(critic: Critic | None, options: TrainerOptions) -> PolicyOptimizer | None:
    if critic is None or options.critic is None:
        return None
    return PolicyOptimizer(critic.named_trained(), options=options.critic.optimizer)
