"""Which ranks meet in which round of the self-test, and how the slowest of them is told."""

from itertools import combinations

import pytest

from tetrad_learner.rank.pairs import MAX_RANKS_OF_ALL_PAIRS, rounds


def pairs(world_size: int) -> list[tuple[int, int]]:
    """In the order of rounds."""
    met = [(rank, rank ^ mask) for mask in rounds(world_size) for rank in range(world_size)]
    return [(low, high) for low, high in met if low < high < world_size]


@pytest.mark.parametrize("world_size", range(2, MAX_RANKS_OF_ALL_PAIRS + 1))
def test_every_two_ranks_meet_exactly_once(world_size):
    assert sorted(pairs(world_size)) == list(combinations(range(world_size), 2))


@pytest.mark.parametrize("world_size", [17, 24, 64, 1000])
def test_many_ranks_meet_in_few_rounds_and_no_group_of_them_is_cut_off(world_size):
    reached = {0}
    for low, high in pairs(world_size) * 2:
        if reached & {low, high}:
            reached |= {low, high}

    assert len(rounds(world_size)) == (world_size - 1).bit_length()
    assert reached == set(range(world_size))
