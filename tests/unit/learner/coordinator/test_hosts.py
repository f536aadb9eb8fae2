"""Which hosts a set of ranks runs on, and what is said while they are not there."""

import pytest

from tetrad_learner.coordinator.hosts import HostsMissingError, gathered, host_address, present
from tetrad_learner.coordinator.registry import Registry
from tetrad_runtime.exits import ConfigFault
from tetrad_testing.builders import a_heartbeat, a_hello, a_ranks_order
from tetrad_transport import PeerId
from tetrad_wire.ids import Incarnation, RunId
from tetrad_wire.messages.membership import Role


def a_registry(*names: str) -> Registry:
    registry = Registry(RunId("run"))
    for name in names:
        hello = a_hello(role=Role.HOST, name=name, incarnation=Incarnation(name), rollout=None)
        registry.register(PeerId(name.encode()), hello, 0.0)
    return registry


def test_hosts_are_taken_in_the_order_of_their_names_and_the_rest_is_spare():
    registry = a_registry("host-2", "host-3", "host-1")

    assert present(registry, num_wanted=2) == ("host-1", "host-2")


def test_a_host_that_leaves_is_not_taken():
    registry = a_registry("host-1", "host-2")
    leaving = a_heartbeat(incarnation=Incarnation("host-1"), is_draining=True, certificate=None, leases=())
    registry.hear(PeerId(b"host-1"), leaving, 1.0)

    assert present(registry, num_wanted=1) == ("host-2",)


async def test_hosts_that_do_not_come_are_named_with_the_limit_and_the_command():
    with pytest.raises(HostsMissingError, match=r"1 of 2 other hosts .* 0 s .*host-1 \(host-1\); start `tetrad agent"):
        await gathered(a_registry("host-1"), num_wanted=2, timeout_s=0.0, is_over=lambda: False)


async def test_nobody_is_waited_for_once_the_run_is_over():
    assert await gathered(a_registry(), num_wanted=1, timeout_s=60.0, is_over=lambda: True) is None


@pytest.mark.parametrize("bind", ["ipc:///tmp/coordinator", "tcp://0.0.0.0:7000"])
def test_an_endpoint_that_others_cannot_reach_is_refused(bind: str):
    with pytest.raises(ConfigFault, match="--listen tcp://ADDRESS:PORT"):
        host_address(bind)


def test_everyone_hears_of_another_set_once():
    registry, order = a_registry("host-1"), a_ranks_order()

    assert registry.order_ranks(order)
    assert not registry.order_ranks(order)
    assert registry.desired().ranks == order
    assert registry.order_ranks(None)
