"""pass@k: how likely it is that one of k samples of a prompt is right. Pure."""

from collections.abc import Iterator
from math import comb


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """Estimate pass@k of one prompt without bias from n ≥ k samples, c of them right: 1 − C(n−c, k) / C(n, k).

    Chen et al. 2021, arXiv:2107.03374, equation 1. In whole numbers up to the one division, so that k = 1 is c / n and
    k = n is whether any sample is right, both exactly. Of fewer samples than k, all are taken: too low, never too high.

    >>> pass_at_k(4, 1, 1), pass_at_k(4, 1, 2), pass_at_k(4, 1, 4)
    (0.25, 0.5, 1.0)
    """
    k = min(k, num_samples)
    every = comb(num_samples, k)
    return (every - comb(num_samples - num_right, k)) / every


def reported_ks(num_samples: int) -> Iterator[int]:
    """Yield which k are reported: powers of two below the number of samples, and that number.

    >>> list(reported_ks(6)), list(reported_ks(4)), list(reported_ks(1))
    ([1, 2, 4, 6], [1, 2, 4], [1])
    """
    k = 1
    while k < num_samples:
        yield k
        k *= 2
    yield num_samples
