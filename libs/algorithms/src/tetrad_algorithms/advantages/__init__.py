"""Advantages: from the rewards of a step to one number per trained token.

One file per estimator; importing this package registers all of them under the names of the run file
(`trainer.algorithm.advantage_estimator`).
"""

from tetrad_algorithms.advantages.gae import gae
from tetrad_algorithms.advantages.groups import GroupMoments, group_moments
from tetrad_algorithms.advantages.grpo import grpo
from tetrad_algorithms.advantages.maxrl import maxrl
from tetrad_algorithms.advantages.normalization import normalize_over_batch
from tetrad_algorithms.advantages.outcomes import (
    AdvantageOptions,
    Advantages,
    Estimator,
    GrpoSingleton,
    GrpoStd,
    Outcomes,
    SumOverRanks,
    estimators,
)
from tetrad_algorithms.advantages.reinforce_plus_plus import reinforce_plus_plus
from tetrad_algorithms.advantages.rloo import rloo

__all__ = [
    "AdvantageOptions",
    "Advantages",
    "Estimator",
    "GroupMoments",
    "GrpoSingleton",
    "GrpoStd",
    "Outcomes",
    "SumOverRanks",
    "estimators",
    "gae",
    "group_moments",
    "grpo",
    "maxrl",
    "normalize_over_batch",
    "reinforce_plus_plus",
    "rloo",
]
