"""AdamW over the sharded master weights: the clip, the schedule and the proof that the gradient is finite.

Owns the moments and the count of optimizer steps. Must not know where gradients came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tetrad_learner.trainer.options import OptimizerOptions
from tetrad_learner.trainer.schedule import check_schedule, learning_rate

# Added to the norm before dividing; the same as in torch.nn.utils.clip_grad_norm_.
CLIP_EPSILON: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """The gradient of one mini-batch, measured before it is applied."""

    norm: float
    """Global L2 norm over all ranks, before clipping."""
    tensors: tuple[Tensor, ...]
    norm_tensor: Tensor


class PolicyOptimizer:
    """AdamW with decoupled weight decay (arXiv:1711.05101) on every parameter, moments in float32."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], *, options: OptimizerOptions) -> None:
        check_schedule(options)
        self._options = options
        self.named_parameters = {name: parameter for name, parameter in parameters if parameter.requires_grad}
        self.steps_taken = 0
        self._adamw = torch.optim.AdamW(
            self.named_parameters.values(),
            lr=options.lr,
            betas=options.betas,
            eps=options.eps,
            weight_decay=options.weight_decay,
            fused=True,
        )
        for parameter in self.named_parameters.values():
            self._adamw.state[parameter] = _fresh_state(parameter)

    @property
    def lr(self) -> float:
        """Learning rate of the next optimizer step."""
        return learning_rate(self._options, optimizer_step=self.steps_taken)

    def measure(self) -> Gradient:
        """Measure the accumulated gradient; collective where the weights are sharded."""
        tensors = tuple(p.grad for p in self.named_parameters.values() if p.grad is not None)
        norm = torch.nn.utils.get_total_norm(tensors)
        whole = norm.full_tensor() if isinstance(norm, DTensor) else norm
        return Gradient(norm=float(whole), tensors=tensors, norm_tensor=whole)

    def apply(self, gradient: Gradient) -> None:
        """Clip to the largest norm, take one optimizer step, and forget the gradient."""
        limit = self._options.max_grad_norm
        if 0 < limit < gradient.norm:
            scale = limit / (gradient.norm_tensor + CLIP_EPSILON)
            for tensor in gradient.tensors:
                (tensor.to_local() if isinstance(tensor, DTensor) else tensor).mul_(scale)
        for group in self._adamw.param_groups:
            group["lr"] = self.lr
        self._adamw.step()
        self.forget()
        self.steps_taken += 1

    def forget(self) -> None:
        """Drop accumulated gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def moments(self) -> dict[str, Tensor]:
        """Return the live moments as `exp_avg.NAME` and `exp_avg_sq.NAME`; writing into them restores them."""
        return {
            f"{key}.{name}": self._adamw.state[parameter][key]
            for name, parameter in self.named_parameters.items()
            for key in ("exp_avg", "exp_avg_sq")
        }

    def restore(self, *, steps_taken: int) -> None:
        """Set the count of steps that bias correction and schedule go by."""
        self.steps_taken = steps_taken
        for state in self._adamw.state.values():
            state["step"].fill_(float(steps_taken))


def _fresh_state(parameter: nn.Parameter) -> dict[str, Tensor]:
    """What AdamW itself would make at its first step; made early so that a checkpoint can be read into it."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }
