"""Environment and reward: what answers are scored against, and by how many processes."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import Field, field_validator

from tetrad_config.graders import Code, Gsm8k, LlmJudge, Math, Multiply, ReasoningGym, SkyrlGym
from tetrad_config.section import Count, Options, Seconds, Section

MAX_FUNCTIONS = 8
"""As many extra scores as a sample may have."""
_SCORE_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class Environment(Section):
    """`environment`: what answers are scored against."""

    env_class: Annotated[str, Field(min_length=1)] = "gsm8k"
    """Environment of rows that name none: a registered name or `module:Class`."""
    env_config: Options = Field(default_factory=dict)
    """Settings of an environment of one's own: what its constructor gets as `env_config`."""
    code: Code = Field(default_factory=Code)
    """How programs are run and paid."""
    gsm8k: Gsm8k = Field(default_factory=Gsm8k)
    """How GSM8K answers are found."""
    llm_judge: LlmJudge = Field(default_factory=LlmJudge)
    """How a language model judges."""
    math: Math = Field(default_factory=Math)
    """How formulas are found."""
    multiply: Multiply = Field(default_factory=Multiply)
    """Products over several turns."""
    reasoning_gym: ReasoningGym = Field(default_factory=ReasoningGym)
    """How tasks of reasoning-gym are paid."""
    skyrl_gym: SkyrlGym = Field(default_factory=SkyrlGym)
    """Settings under SkyRL's names."""


class RewardFunction(Section):
    """One of `reward.functions`."""

    fn: Annotated[str, Field(min_length=1)]
    """An environment's name, `module:Class`, `module:function` or `file.py:function`."""
    weight: float = 1.0
    """Its factor in the sum."""
    name: str | None = None
    """Under which its own reward is kept with the sample; null is the last part of `fn`."""

    @field_validator("weight")
    @classmethod
    def _is_finite(cls, weight: float) -> float:
        if not math.isfinite(weight):
            raise ValueError("must be finite")
        return weight

    @property
    def score_name(self) -> str:
        """Return the name of its score."""
        return self.name or self.fn.rpartition(":")[2].rpartition(".")[2].lower()


class Reward(Section):
    """`reward`: the reward service."""

    num_replicas: Count = 1
    """Reward replicas at the start of the run."""
    num_workers: Count = 1
    """Worker processes that grade, per replica."""
    grade_timeout: Seconds = 30.0
    """Seconds after which a grade is given up and its worker killed."""
    implementation: Annotated[str, Field(pattern=r"^([A-Za-z_][\w-]*|[^:]+:[A-Za-z_][\w.]*)$")] | None = None
    """A registered name, `module:Class` or `file.py:function` that scores all rows; null is the environment."""
    functions: Annotated[tuple[RewardFunction, ...], Field(strict=False, max_length=MAX_FUNCTIONS)] = ()
    """Graders whose weighted sum scores in place of the environment, as `[{fn: gsm8k}, {fn: my.py:f, weight: 0.1}]`."""

    @field_validator("functions")
    @classmethod
    def _have_names(cls, functions: tuple[RewardFunction, ...]) -> tuple[RewardFunction, ...]:
        names = [function.score_name for function in functions]
        for name in names:
            if _SCORE_NAME.fullmatch(name) is None:
                raise ValueError(f"{name!r} is no name of a score (a-z, 0-9 and _, at most 32); set name")
        if len(set(names)) < len(names):
            raise ValueError(f"{', '.join(names)} are not different; set name")
        return functions
