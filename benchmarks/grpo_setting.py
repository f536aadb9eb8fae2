"""What both sides of `grpo_step.py` do: prompts, sizes, hyperparameters and the reward.

Standard library only: it is imported by TRL's environment, by our reward workers and by the benchmark itself.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Self

PROMPTS: Final = tuple(
    f"Tom has {i % 9 + 1} apples and gets {i % 7 + 1} more. How many apples does Tom have now?" for i in range(8)
)
"""One step uses each of them once, on both sides, in some order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Sizes of a step; small enough for a CPU."""

    num_steps: int
    """Steps of one turn; the first is a warm-up and not counted."""
    num_samples: int = 4
    """Of each prompt."""
    max_new_tokens: int = 64
    micro_batch_size: int = 8
    """Samples of one forward and backward pass: TRL's default."""
    num_threads: int = 1
    """Of each process that computes."""
    learning_rate: float = 1e-6
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    clip: float = 0.2
    temperature: float = 1.0

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> Self:
        """Read what `asdict` wrote, from the other process."""
        return cls(**fields)  # type: ignore[arg-type]  # what we wrote ourselves

    def fields(self) -> dict[str, object]:
        """As JSON takes it."""
        return asdict(self)

    @property
    def batch_size(self) -> int:
        """Samples of one step."""
        return len(PROMPTS) * self.num_samples


def reward(response: str, _ground_truth: str | None = None) -> float:
    """Something cheap that differs between samples: distinct characters, modulo 7.

    >>> reward("abca")
    3.0
    """
    return float(len(set(response)) % 7)


def thread_environment(num_threads: int) -> dict[str, str]:
    """Our environment, with so many threads for whatever library computes; they wait without spinning."""
    count = str(num_threads)
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), count)
    return {**os.environ, **counts, "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
