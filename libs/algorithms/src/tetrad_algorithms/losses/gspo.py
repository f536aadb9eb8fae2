"""GSPO: one ratio for a whole sequence."""

# T trained tokens · N samples of the micro-batch

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from tetrad_algorithms.losses.tokens import LossOptions, PolicyTokens, TokenLoss, clipped_surrogate, policy_losses

# The logarithm of a ratio is a mean over tokens, and a mean this large is no policy any more.
MAX_LOG_SEQUENCE_RATIO: Final = 10.0


@policy_losses.register("gspo")
def gspo(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
    """Clipped surrogate of the length-normalised sequence ratio, as GSPO-token (arXiv:2507.18071, eqs. 7 and 13–14).

    log s_t = mean over the sequence of (log π − log π_old), with the gradient of token t alone; its value is the same
    for every token of a sequence. The paper's clip range is 3e-4 below and 4e-4 above, its reduction sequence_mean.

    Two tokens with ratios 1 and 1.21 have the sequence ratio 1.1, their geometric mean:

    >>> tokens = PolicyTokens(
    ...     learner_logprobs_T=torch.tensor([1.0, 1.21]).log(),
    ...     old_logprobs_T=torch.zeros(2),
    ...     rollout_logprobs_T=torch.zeros(2),
    ...     advantages_T=torch.tensor([1.0, 1.0]),
    ...     sample_T=torch.zeros(2, dtype=torch.int64),
    ... )
    >>> gspo(tokens, LossOptions()).loss_T
    tensor([-1.1000, -1.1000])
    """
    learner_T = tokens.learner_logprobs_T
    mean_T = _mean_over_samples(learner_T.detach() - tokens.old_logprobs_T, tokens.sample_T)
    # Added and taken away: the value is the mean's, the gradient the token's.
    ratio_T = (mean_T + learner_T - learner_T.detach()).clamp(max=MAX_LOG_SEQUENCE_RATIO).exp()
    return clipped_surrogate(ratio_T, tokens.advantages_T, low=options.eps_clip_low, high=options.eps_clip_high)


def _mean_over_samples(values_T: Tensor, sample_T: Tensor) -> Tensor:
    """Return to each token the mean over its sample, in float64 until the end."""
    _, index_T, count_N = torch.unique(sample_T, return_inverse=True, return_counts=True)
    sum_N = torch.zeros(len(count_N), dtype=torch.float64, device=values_T.device)
    sum_N = sum_N.index_add(0, index_T, values_T.double())
    mean_T: Tensor = (sum_N / count_N)[index_T].to(values_T.dtype)
    return mean_T
