import pytest

from tetrad_config.reward_record import Edition, RewardRecord, write_record
from tetrad_learner.coordinator.registry import Registry
from tetrad_learner.coordinator.reward_editions import RewardEditions, Standing
from tetrad_learner.coordinator.reward_swaps import RewardSwapMetrics, RewardSwaps
from tetrad_telemetry.metrics import Metrics
from tetrad_testing.builders import a_heartbeat, a_hello, a_reward_offer
from tetrad_transport import PeerId
from tetrad_wire.ids import Incarnation, RunId, Token
from tetrad_wire.messages.membership import EnvironmentOffer, Hello, Role, RouteUse

SECOND = Edition(number=2)
OUTSIDE = Edition(number=3, endpoints=("tcp://127.0.0.1:7001",))


def a_replica(name: str, *, edition: int, grader: str = "v1", endpoint: str = "") -> Hello:
    offer = a_reward_offer(environments=(EnvironmentOffer(name="arithmetic", grader_version=grader),), edition=edition)
    return a_hello(
        role=Role.REWARD,
        name=name,
        incarnation=Incarnation(name),
        endpoint=endpoint or f"ipc:///{name}",
        reward=offer,
        rollout=None,
    )


OLD = a_replica("reward-0", edition=1, grader="old")
NEW = a_replica("reward-v2-0", edition=2, grader="new")
NODE = a_replica("reward-node", edition=0, grader="node", endpoint="tcp://127.0.0.1:7001")


def swapped() -> RewardEditions:
    """Editions whose second has just taken over."""
    rewards = RewardEditions(wanted=SECOND)
    assert rewards.take_over([OLD, NEW], willing=[OLD, NEW])
    return rewards


def test_a_wanted_edition_takes_over_only_once_one_of_its_replicas_is_there() -> None:
    rewards = RewardEditions(wanted=SECOND)

    assert not rewards.take_over([OLD], willing=[OLD])
    assert not rewards.take_over([OLD, NEW], willing=[OLD])
    assert rewards.take_over([OLD, NEW], willing=[OLD, NEW])

    assert rewards.current == SECOND
    assert not rewards.take_over([OLD, NEW], willing=[OLD, NEW])


def test_a_replica_of_an_edition_that_is_not_current_yet_gets_nothing() -> None:
    rewards = RewardEditions(wanted=SECOND)

    assert rewards.use(NEW, is_draining=False) is None
    assert rewards.use(NODE, is_draining=False) is None
    assert rewards.use(OLD, is_draining=False) is RouteUse.OPEN


def test_a_replaced_replica_keeps_the_groups_that_are_pinned_to_it() -> None:
    rewards = swapped()

    assert rewards.use(OLD, is_draining=False) is RouteUse.PINNED
    assert rewards.use(NEW, is_draining=False) is RouteUse.OPEN
    assert rewards.use(OLD, is_draining=True) is RouteUse.CLOSING


def test_a_service_that_others_keep_is_current_by_its_endpoint_and_retires_once_replaced() -> None:
    rewards = RewardEditions(current=OUTSIDE, wanted=Edition(number=4))
    again = a_replica("reward-v4-0", edition=4)
    assert rewards.standing(NODE) is Standing.CURRENT

    assert rewards.take_over([NODE, again], willing=[NODE, again])

    assert rewards.standing(NODE) is Standing.RETIRING
    # Its next start stands by: it may be swapped to again.
    fresh = a_replica("reward-node-again", edition=0, endpoint="tcp://127.0.0.1:7001")
    assert rewards.standing(fresh) is Standing.STANDING_BY


def test_a_replaced_replica_is_dismissed_once_no_lease_of_its_time_is_held() -> None:
    rewards = swapped()

    assert rewards.dismiss([OLD, NEW], leases=[Token(1), Token(2)], pinned=()) == []
    assert rewards.dismiss([OLD, NEW], leases=[Token(2), Token(3)], pinned=()) == []
    assert rewards.dismiss([OLD, NEW], leases=[Token(3), Token(4)], pinned=()) == [OLD]
    assert rewards.dismiss([OLD, NEW], leases=[], pinned=()) == []
    assert rewards.dismissed == {OLD.incarnation}


def test_a_half_graded_group_keeps_its_grader_even_without_a_lease() -> None:
    rewards = swapped()

    assert rewards.dismiss([OLD, NEW], leases=[], pinned={"old"}) == []
    assert rewards.dismiss([OLD, NEW], leases=[], pinned={"new"}) == [OLD]


def test_an_edition_that_has_taken_over_is_not_given_up_when_the_record_is_read_again() -> None:
    rewards = swapped()

    rewards.follow(RewardRecord(wanted=SECOND))

    assert rewards.current == SECOND
    rewards.follow(RewardRecord(current=SECOND))
    assert rewards.current == SECOND
    # The launcher takes it back.
    rewards.follow(RewardRecord())
    assert rewards.current == Edition()


@pytest.fixture
def registry() -> Registry:
    registry = Registry(RunId("run"))
    for number, hello in enumerate((OLD, NEW)):
        registry.register(PeerId(str(number).encode()), hello, 0.0)
    return registry


def test_new_groups_are_graded_by_the_current_edition_and_pinned_ones_by_theirs(registry: Registry) -> None:
    registry.rewards.wanted = SECOND
    assert registry.grader_version("arithmetic") == "old"

    assert registry.take_over()

    assert registry.grader_version("arithmetic") == "new"
    assert registry.grader_version("arithmetic", pinned="old") == "old"
    assert registry.grader_version("arithmetic", pinned="gone") == "new"
    assert {route.name: route.use for route in registry.desired().rewards} == {
        "reward-0": RouteUse.PINNED,
        "reward-v2-0": RouteUse.OPEN,
    }


def test_a_replica_that_drains_cannot_keep_a_pinned_group(registry: Registry) -> None:
    registry.rewards.current = SECOND
    registry.hear(PeerId(b"0"), a_heartbeat(incarnation=OLD.incarnation, is_draining=True), 1.0)

    assert registry.grader_version("arithmetic", pinned="old") == "new"


def test_the_record_in_the_run_s_folder_is_followed_when_it_changes(registry: Registry, tmp_path) -> None:
    swaps = RewardSwaps(RewardSwapMetrics(Metrics("learner", version="0")), registry, tmp_path)
    generation = registry.generation
    assert not swaps.look()

    write_record(tmp_path, RewardRecord(wanted=SECOND))

    assert swaps.look()
    assert registry.rewards.current == SECOND
    assert registry.generation > generation
    assert not swaps.look()


def test_a_record_that_cannot_be_read_changes_nothing(registry: Registry, tmp_path) -> None:
    swaps = RewardSwaps(RewardSwapMetrics(Metrics("learner", version="0")), registry, tmp_path)
    write_record(tmp_path, RewardRecord(current=SECOND))
    swaps.look()

    (tmp_path / "reward" / "record.json").write_text("{}")

    assert not swaps.look()
    assert registry.rewards.current == SECOND
