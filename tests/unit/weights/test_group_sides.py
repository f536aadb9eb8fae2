"""What two sides of a process group must have in common."""

import pytest

from tetrad_weights.group_sides import (
    FORCED,
    buckets,
    child_environment,
    difference,
    interface_towards,
    overridden,
    steering,
)
from tetrad_wire.messages.groups import GroupSide


def a_side(**changes) -> GroupSide:
    fields = {"backend": "nccl", "gpu": "GPU-0", "versions": {"torch": "2.11", "nccl": "2.28.3"}, "environment": {}}
    return GroupSide(**fields | changes)


def test_sides_on_two_gpus_that_agree_may_form_a_group():
    assert difference(a_side(), a_side(gpu="GPU-1")) == ""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backend": "gloo"}, "backend is nccl at the sender and gloo at the receiver"),
        ({"gpu": "GPU-0"}, "both sides are on GPU GPU-0; NCCL needs one for each: use cuda_ipc there"),
        (
            {"versions": {"torch": "2.11", "nccl": "2.27.5"}},
            "nccl is 2.28.3 at the sender and 2.27.5 at the receiver",
        ),
        ({"environment": {"NCCL_ALGO": "Ring"}}, "NCCL_ALGO is unset at the sender and Ring at the receiver"),
    ],
)
def test_what_differs_is_named_with_both_values(changes, named):
    assert difference(a_side(), a_side(**{"gpu": "GPU-1", **changes})) == named


@pytest.mark.parametrize("name", ["NCCL_PROTO", "NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE"])
def test_a_variable_that_one_side_alone_has_set_keeps_them_apart(name):
    ours, theirs = [a_side(environment=steering(child_environment(environ))) for environ in ({}, {name: "1"})]

    assert difference(ours, a_side(gpu="GPU-1", environment=theirs.environment)) == (
        f"{name} is unset at the sender and 1 at the receiver"
    )


@pytest.mark.parametrize("name", FORCED)
def test_a_variable_that_we_force_never_keeps_the_sides_apart(name):
    ours, theirs = [a_side(environment=steering(child_environment(environ))) for environ in ({}, {name: "1"})]

    assert difference(ours, a_side(gpu="GPU-1", environment=theirs.environment)) == ""
    assert overridden({name: "1"}) == {name: "1"}


def test_names_of_a_hosts_own_devices_need_not_agree():
    environ = {"NCCL_SOCKET_IFNAME": "eth0", "NCCL_IB_HCA": "mlx5_0", "NCCL_DEBUG": "INFO", "GLOO_SOCKET_IFNAME": "lo"}

    assert steering(environ) == {}


def test_a_child_gets_what_we_force_whatever_the_user_has_set_and_the_user_can_be_told():
    environ = {"NCCL_CUMEM_ENABLE": "1", "NCCL_PROTO": "LL", "PATH": "/bin"}

    child = child_environment(environ)

    assert steering(child) == {**FORCED, "NCCL_PROTO": "LL"}
    assert child["PATH"] == "/bin"
    assert overridden(environ) == {"NCCL_CUMEM_ENABLE": "1"}


def test_buckets_cover_every_byte_once():
    found = list(buckets(1000, 300))

    assert [bucket.start for bucket in found] == [0, *(bucket.end for bucket in found[:-1])]
    assert found[-1].end == 1000
    assert max(bucket.end - bucket.start for bucket in found) == 300


def test_the_interface_to_this_host_is_the_loopback():
    assert interface_towards("127.0.0.1") == "lo"
