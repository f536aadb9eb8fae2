"""Every item has one part, and the parts are nearly equal."""

from hypothesis import given
from hypothesis import strategies as st

from tetrad_learner.coordinator.balancing import karmarkar_karp


def sums_of(costs: list[int], owners: list[int], num_parts: int) -> list[int]:
    return [sum(cost for cost, owner in zip(costs, owners, strict=True) if owner == part) for part in range(num_parts)]


@given(costs=st.lists(st.integers(0, 5000), max_size=40), num_parts=st.integers(1, 6))
def test_no_part_exceeds_another_by_more_than_the_largest_item(costs: list[int], num_parts: int) -> None:
    owners = karmarkar_karp(costs, num_parts=num_parts)

    assert len(owners) == len(costs)
    assert set(owners) <= set(range(num_parts))
    sums = sums_of(costs, owners, num_parts)
    assert max(sums) - min(sums) <= max(costs, default=0)


def test_it_finds_what_largest_first_misses() -> None:
    costs = [8, 7, 6, 5, 4]

    assert sorted(sums_of(costs, karmarkar_karp(costs, num_parts=2), 2)) == [14, 16]


def test_equal_costs_give_equal_numbers_of_items() -> None:
    owners = karmarkar_karp([512] * 64, num_parts=8)

    assert [owners.count(part) for part in range(8)] == [8] * 8


def test_the_same_costs_always_give_the_same_parts() -> None:
    costs = [300, 300, 17, 300, 44, 44, 9]

    assert karmarkar_karp(costs, num_parts=3) == karmarkar_karp(list(costs), num_parts=3)
