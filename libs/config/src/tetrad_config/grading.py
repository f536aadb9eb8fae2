"""Grading: what of `environment` and `reward` fits together, and which of it has an effect. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tetrad_config.conditional import Conditional
from tetrad_config.errors import Problem
from tetrad_config.graders import BUNDLED, JUDGES
from tetrad_config.run import RunConfig

GRADED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "code": ("code",),
    "gsm8k": ("gsm8k",),
    "llm_judge": JUDGES,
    "math": ("math",),
    "multiply": ("multiply",),
    "reasoning_gym": ("reasoning_gym",),
    "skyrl_gym.llm_as_a_judge": JUDGES,
    "skyrl_gym.search": ("search", "searchcode"),
    "skyrl_gym.text2sql": ("text2sql",),
}
"""Section of `environment` → the environments that read it."""


def _may_grade(config: RunConfig, names: tuple[str, ...]) -> bool:
    """Whether one of these environments may score a row: rows name theirs, unless one grader scores all."""
    reward = config.reward
    if reward.functions:
        return any(function.fn in names for function in reward.functions)
    return reward.implementation is None


GRADING: Final[tuple[Conditional, ...]] = (
    *(
        Conditional(
            (f"environment.{section}",),
            lambda config, names=names: _may_grade(config, names),  # type: ignore[misc]  # bound early
            lambda config: (
                "reward.functions"
                if config.reward.functions
                else f"reward.implementation={config.reward.implementation}"
            ),
        )
        for section, names in GRADED_BY.items()
    ),
    Conditional(
        ("environment.env_config",),
        lambda config: not config.reward.functions,
        lambda _: "reward.functions, whose own environments have no settings",
    ),
)


def _one_thing_scores(config: RunConfig) -> Iterator[Problem]:
    if config.reward.implementation and config.reward.functions:
        message = f"and reward.implementation={config.reward.implementation} both score every row; leave one out"
        yield Problem(key="reward.functions", message=message)


def _settings_have_an_owner(config: RunConfig) -> Iterator[Problem]:
    environment = config.environment
    owner = config.reward.implementation or environment.env_class
    if environment.env_config and owner in BUNDLED:
        message = f"is for environments of one's own; settings of {owner} stand in environment.{owner}, if it has any"
        yield Problem(key="environment.env_config", message=message)


def _graders_end_before_their_workers_do(config: RunConfig) -> Iterator[Problem]:
    environment, limit_s = config.environment, config.reward.grade_timeout
    used = {function.fn for function in config.reward.functions} or {environment.env_class}
    needs = {
        "environment.code.total_timeout": ("code" in used, environment.code.longest_grade_s),
        "environment.llm_judge.timeout": (bool(used & set(JUDGES)), environment.llm_judge.timeout),
    }
    for key, (is_used, needed_s) in needs.items():
        if is_used and needed_s >= limit_s:
            message = f"a grade may take {needed_s:g} s and is given up after reward.grade_timeout={limit_s:g}"
            yield Problem(key=key, message=f"{message}; set reward.grade_timeout={needed_s + 5:g}, or lower it")


GRADING_RULES: Final[tuple[Callable[[RunConfig], Iterator[Problem]], ...]] = (
    _one_thing_scores,
    _settings_have_an_owner,
    _graders_end_before_their_workers_do,
)
