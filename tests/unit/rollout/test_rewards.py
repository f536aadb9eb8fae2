import pytest

from tetrad_rollout.rewards import ReplicaLostError, RewardPool
from tetrad_testing.builders import a_reward_offer, a_reward_route
from tetrad_transport import MemoryTransport, ZmqTransport
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import EnvironmentOffer, RewardRoute, RouteUse

NOT_LONG_S = 0.05


def a_route(name: str, grader: str, use: RouteUse = RouteUse.OPEN, *, endpoint: str = "") -> RewardRoute:
    offer = a_reward_offer(environments=(EnvironmentOffer(name="arithmetic", grader_version=grader),))
    return a_reward_route(
        name=name, incarnation=Incarnation(name), endpoint=endpoint or f"memory://{name}", offer=offer, use=use
    )


@pytest.fixture
def pool():
    pool = RewardPool(MemoryTransport(), name="rollout-0")
    yield pool
    pool.close()


async def test_a_new_group_opens_on_the_current_reward_and_a_pinned_one_on_its_own(pool: RewardPool) -> None:
    pool.follow([a_route("old", "v1", RouteUse.PINNED), a_route("new", "v2")])

    free = await pool.choose("arithmetic", grader_version="", timeout_s=NOT_LONG_S)
    pinned = await pool.choose("arithmetic", grader_version="v1", timeout_s=NOT_LONG_S)

    assert (free.route.name, pinned.route.name) == ("new", "old")


async def test_a_replica_that_closes_keeps_its_episodes_and_gets_no_new_ones(pool: RewardPool) -> None:
    pool.follow([a_route("old", "v1")])
    held = await pool.choose("arithmetic", grader_version="v1", timeout_s=NOT_LONG_S)

    pool.follow([a_route("old", "v1", RouteUse.CLOSING)])

    assert not held.is_gone.is_set()
    with pytest.raises(ReplicaLostError, match="no reward replica grades arithmetic as v1"):
        await pool.choose("arithmetic", grader_version="v1", timeout_s=NOT_LONG_S)


async def test_a_class_that_nobody_names_opens_on_the_current_reward_only(pool: RewardPool) -> None:
    pool.follow([a_route("old", "v1", RouteUse.PINNED), a_route("new", "v2")])

    chosen = {(await pool.choose("other", grader_version="", timeout_s=NOT_LONG_S)).route.name for _ in range(8)}

    assert chosen == {"new"}


async def test_a_replica_at_an_impossible_endpoint_does_not_stop_the_others(tmp_path) -> None:
    transport = ZmqTransport()
    pool = RewardPool(transport, name="rollout-0")

    pool.follow([a_route("bad", "v1", endpoint="nowhere"), a_route("good", "v1", endpoint=f"ipc://{tmp_path}/r")])
    chosen = await pool.choose("arithmetic", grader_version="v1", timeout_s=NOT_LONG_S)

    assert chosen.route.name == "good"
    pool.close()
    transport.close()
