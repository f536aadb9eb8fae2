"""Environment and reward: what answers are scored against, and by how many processes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tetrad_config.section import Count, Seconds, Section


class Gsm8kMode(StrEnum):
    """Which answers of GSM8K count as right."""

    STRICT = "strict"
    BOXED = "boxed"
    FLEXIBLE = "flexible"


class Gsm8k(Section):
    """`environment.gsm8k`: how an answer is found in the text."""

    mode: Annotated[Gsm8kMode, Field(strict=False)] = Gsm8kMode.STRICT
    r"""`strict`: after `####`, as in SkyRL; `boxed`: in `\boxed{}`; `flexible`: either, or the last number."""


class Environment(Section):
    """`environment`: what answers are scored against."""

    env_class: Annotated[str, Field(min_length=1)] = "gsm8k"
    """Environment of rows that name none: a registered name or `module:Class`."""
    gsm8k: Gsm8k = Field(default_factory=Gsm8k)
    """How GSM8K answers are found."""


class Reward(Section):
    """`reward`: the reward service."""

    num_replicas: Count = 1
    """Reward replicas at the start of the run."""
    num_workers: Count = 1
    """Worker processes that grade, per replica."""
    grade_timeout: Seconds = 30.0
    """Seconds after which a grade is given up and its worker killed."""
    implementation: Annotated[str, Field(pattern=r"^[^:]+:[A-Za-z_][\w.]*$")] | None = None
    """`module:Class` or `file.py:function` that scores in place of the environment; null is the environment."""
