"""Each benchmark that needs no model runs, small."""

import pytest

pytestmark = pytest.mark.timeout(120)


async def test_the_coordinator_settles_leases_of_fake_rollouts():
    from coordinator import growth, measure

    few, many = await measure(1, 16, 2, 1), await measure(4, 16, 2, 1)

    assert min(few.values()) > 0
    assert few.keys() == many.keys()
    figures = {f"replicas_{n}_{name}": value for n, part in ((1, few), (4, many)) for name, value in part.items()}
    assert growth(figures, [1, 4])["core_cost_per_lease_at_4_replicas_ratio_to_1_replica"] > 0


async def test_workers_grade_beside_the_plain_loop():
    from rewards import measure

    metrics = await measure(40, 1, [1])

    assert min(metrics.values()) > 0


async def test_hostile_responses_are_graded_beside_good_ones():
    pytest.importorskip("math_verify", reason="the extra 'math' is not installed")
    from rewards_hostile import HOSTILE, ONE_IN, measure

    metrics = await measure({"math": ONE_IN * len(HOSTILE["math"])}, 1)

    assert min(metrics.values()) > 0
