import pytest

from tetrad_learner.coordinator.registry import Registry
from tetrad_testing.builders import a_device_order, a_heartbeat, a_hello, a_reward_offer
from tetrad_transport import PeerId
from tetrad_wire.ids import Incarnation, PolicyVersion, RunId
from tetrad_wire.messages.membership import EnvironmentOffer, Role, RouteUse, RunState, WantedWeights

PEER, OTHER = PeerId(b"peer"), PeerId(b"other")


def a_reward(name: str, grader: str, *, env_class: str = "arithmetic", serves_any: bool = False):
    offer = a_reward_offer(
        environments=(EnvironmentOffer(name=env_class, grader_version=grader),), serves_any=serves_any
    )
    return a_hello(role=Role.REWARD, name=name, incarnation=Incarnation(name), reward=offer, rollout=None)


@pytest.fixture
def registry() -> Registry:
    return Registry(RunId("run"))


def test_a_new_member_changes_the_generation_once(registry: Registry) -> None:
    assert registry.register(PEER, a_hello(), 0.0)
    generation = registry.generation

    assert not registry.register(PEER, a_hello(), 1.0)

    assert registry.generation == generation


def test_a_member_that_says_something_new_counts_as_new(registry: Registry) -> None:
    registry.register(PEER, a_hello(), 0.0)

    assert registry.register(PEER, a_hello(endpoint="ipc:///elsewhere"), 1.0)


def test_a_stranger_s_heartbeat_is_not_taken(registry: Registry) -> None:
    assert registry.hear(PEER, a_heartbeat(), 0.0) is None


def test_a_heartbeat_keeps_a_member_alive_and_follows_its_address(registry: Registry) -> None:
    registry.register(PEER, a_hello(), 0.0)

    record = registry.hear(OTHER, a_heartbeat(), 5.0)

    assert record is not None
    assert record.peer == OTHER
    assert registry.silent(5.0 + registry.liveness_s) == []
    assert registry.silent(5.1 + registry.liveness_s) == [record]


def test_draining_changes_the_generation(registry: Registry) -> None:
    registry.register(PEER, a_hello(), 0.0)
    generation = registry.generation

    registry.hear(PEER, a_heartbeat(is_draining=True), 1.0)
    registry.hear(PEER, a_heartbeat(is_draining=True), 2.0)

    assert registry.generation == generation + 1


def test_time_of_our_own_is_forgiven(registry: Registry) -> None:
    registry.register(PEER, a_hello(), 0.0)

    registry.extend(100.0)

    assert registry.silent(100.0) == []


def test_a_member_is_forgotten_once(registry: Registry) -> None:
    registry.register(PEER, a_hello(), 0.0)

    assert registry.forget(a_hello().incarnation) is not None
    assert registry.forget(a_hello().incarnation) is None
    assert registry.members == {}


def test_the_newest_broadcaster_is_the_one(registry: Registry) -> None:
    for number in (1, 2):
        hello = a_hello(
            role=Role.BROADCASTER,
            incarnation=Incarnation(f"b{number}"),
            endpoint=f"ipc:///b{number}",
            rollout=None,
        )
        registry.register(PeerId(f"b{number}".encode()), hello, 0.0)

    assert registry.desired().broadcaster == "ipc:///b2"


def test_desired_is_the_full_state(registry: Registry) -> None:
    registry.register(PEER, a_reward("reward-0", "v1"), 0.0)
    registry.want(WantedWeights(version=PolicyVersion(3), digest="d", step=2))
    registry.set_state(RunState.RUNNING)

    desired = registry.desired(should_register=True)

    assert desired.state is RunState.RUNNING
    assert desired.weights is not None
    assert desired.weights.version == 3
    assert [route.name for route in desired.rewards] == ["reward-0"]
    assert desired.broadcaster == ""
    assert desired.should_register
    assert desired.generation == registry.generation


def test_a_draining_reward_replica_gets_no_new_work(registry: Registry) -> None:
    registry.register(PEER, a_reward("reward-0", "v1"), 0.0)
    registry.hear(PEER, a_heartbeat(incarnation=Incarnation("reward-0"), is_draining=True), 1.0)

    assert [route.use for route in registry.desired().rewards] == [RouteUse.CLOSING]
    assert registry.grader_version("arithmetic") is None
    assert registry.grader_version("arithmetic", pinned="v1") is None


def test_the_grader_of_the_newest_replica_is_used(registry: Registry) -> None:
    registry.register(PEER, a_reward("reward-0", "v1"), 0.0)
    registry.register(OTHER, a_reward("reward-1", "v2"), 0.0)

    assert registry.grader_version("arithmetic") == "v2"


def test_a_replica_that_serves_any_class_is_used_for_all(registry: Registry) -> None:
    registry.register(PEER, a_reward("reward-0", "mine", serves_any=True), 0.0)

    assert registry.grader_version("whatever") == "mine"


def test_a_class_that_nobody_names_is_not_pinned(registry: Registry) -> None:
    assert registry.grader_version("gsm8k") is None

    registry.register(PEER, a_reward("reward-0", "v1"), 0.0)

    assert registry.grader_version("gsm8k") == ""


def test_who_was_replaced_can_be_told_to_leave(registry: Registry) -> None:
    assert registry.desired(should_drain=True).should_drain
    assert not registry.desired().should_drain


def test_what_engines_may_hold_is_part_of_the_state_that_everyone_gets(registry: Registry) -> None:
    before = registry.desired()

    registry.permit(a_device_order(turn=7))

    after = registry.desired()
    assert before.device is None
    assert after.device == a_device_order(turn=7)
    assert after.generation > before.generation
