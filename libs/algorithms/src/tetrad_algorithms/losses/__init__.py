"""Policy losses: one number per trained token, before any reduction.

Importing the package enters every loss into the registry `policy_losses`, and the choice of tokens that the covariance
losses need into `selections`. The reduction is `masking.reductions`. Must not know of models or batches.
"""

from tetrad_algorithms.losses.cispo import cispo
from tetrad_algorithms.losses.covariance import (
    Selection,
    SelectionInputs,
    choose_clip_cov,
    choose_kl_cov,
    clip_cov,
    kl_cov,
    selections,
)
from tetrad_algorithms.losses.gspo import gspo
from tetrad_algorithms.losses.importance import importance_sampling, rollout_is
from tetrad_algorithms.losses.regular import dual_clip, regular
from tetrad_algorithms.losses.sapo import sapo
from tetrad_algorithms.losses.tokens import (
    LossOptions,
    PolicyLoss,
    PolicyTokens,
    TokenLoss,
    policy_losses,
    ratio,
)

__all__ = [
    "LossOptions",
    "PolicyLoss",
    "PolicyTokens",
    "Selection",
    "SelectionInputs",
    "TokenLoss",
    "choose_clip_cov",
    "choose_kl_cov",
    "cispo",
    "clip_cov",
    "dual_clip",
    "gspo",
    "importance_sampling",
    "kl_cov",
    "policy_losses",
    "ratio",
    "regular",
    "rollout_is",
    "sapo",
    "selections",
]
