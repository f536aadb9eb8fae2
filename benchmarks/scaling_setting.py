"""What the parts of `scaling.py` are told: sizes, folders and the time that is left."""

import argparse
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rollout_turn import Batch

from tetrad_config import visible_gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time since the start of the program."""

    deadline_s: float
    began: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline_s - (time.monotonic() - self.began)

    def say(self, text: str) -> None:
        """Progress, with the time since the start."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One part."""

    part: str
    folder: Path
    """Of its own, empty."""
    clock: Clock
    model: Path
    """A real model: its weights, or its tokenizer alone."""
    models: Path
    """Where folders of models are made."""
    data: Path | None
    rounds: int
    is_tiny: bool
    gpus: tuple[str, ...]
    """As CUDA_VISIBLE_DEVICES names them; empty without."""
    batch: Batch

    @classmethod
    def of(cls, arguments: argparse.Namespace, *, part: str, folder: Path, clock: Clock) -> Self:
        """Read the command line."""
        folder.mkdir(parents=True)
        tiny = Batch(num_prompts=2, num_tokens=8)
        return cls(
            part=part,
            folder=folder,
            clock=clock,
            model=arguments.smollm2,
            models=arguments.models,
            data=arguments.data,
            rounds=1 if arguments.tiny else arguments.rounds,
            is_tiny=arguments.tiny,
            gpus=() if arguments.tiny else visible_gpus(os.environ),
            batch=tiny if arguments.tiny else Batch(),
        )

    def gpu(self, number: int) -> str:
        """The name of one; empty without."""
        return self.gpus[number] if self.gpus else ""
