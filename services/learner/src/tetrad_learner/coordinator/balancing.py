"""Balancing: numbers into parts of nearly equal sums. Pure."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class _Division:
    """Some items, already divided; ordered by how unequal the parts are, the worst first."""

    minus_spread: int
    number: int
    """Settles equal spreads, so that the same costs always give the same parts."""
    sums: list[int] = field(compare=False)
    """Of each part, the largest first."""
    members: list[list[int]] = field(compare=False)


def karmarkar_karp(costs: Sequence[int], *, num_parts: int) -> list[int]:
    """Return for each cost the part that it goes to, 0 … num_parts − 1.

    The largest differencing method (Karmarkar and Karp, UCB/CSD 82/113, 1982; for k parts Michiels et al., 2003): the
    two most unequal divisions are laid on each other, largest part on smallest, until one is left.

    16 against 14, where giving each number in turn to the lighter part ends at 17 against 13:

    >>> karmarkar_karp([8, 7, 6, 5, 4], num_parts=2)
    [1, 0, 1, 0, 0]
    """
    heap = [_single(cost, item, num_parts) for item, cost in enumerate(costs)]
    heapq.heapify(heap)
    while len(heap) > 1:
        worst, next_worst = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, _laid_together(worst, next_worst))
    owners = [0] * len(costs)
    for division in heap:
        for part, members in enumerate(division.members):
            for item in members:
                owners[item] = part
    return owners


def _single(cost: int, item: int, num_parts: int) -> _Division:
    rest = num_parts - 1
    return _Division(-cost if rest else 0, item, [cost] + [0] * rest, [[item]] + [[] for _ in range(rest)])


def _laid_together(one: _Division, other: _Division) -> _Division:
    pairs = zip(one.sums, one.members, reversed(other.sums), reversed(other.members), strict=True)
    parts = [(sum_ + other_sum, members + others) for sum_, members, other_sum, others in pairs]
    parts.sort(key=lambda part: (-part[0], part[1]))
    sums = [sum_ for sum_, _ in parts]
    return _Division(sums[-1] - sums[0], min(one.number, other.number), sums, [members for _, members in parts])
