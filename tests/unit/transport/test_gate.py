"""Which key may say what."""

import pytest

from tetrad_testing.builders import BUILDERS, a_bye, a_heartbeat, a_hello, a_pull
from tetrad_transport.gate import MAX_SESSIONS, MAY_SEND, Gate, NotAllowedError
from tetrad_transport.keys import Grant, KeyRole, PublicKey
from tetrad_wire.catalog import CLASSES
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import Role
from tetrad_wire.messages.refusals import RefusalCode

SAID_BY_LISTENERS = {
    *("desired", "run_described", "refused", "lease_granted", "lease_revoked", "samples_acknowledged"),
    *("episodes_opened", "episodes_refused", "episode_stepped"),
    *("version_accepted", "version_refused", "version_offered", "version_unavailable", "version_chunk"),
    *("link_echoed", "group_opened", "group_refused", "sending_ended"),
    *("execute_step", "publish_weights", "save_checkpoint", "move_state"),
}
ROLLOUT, OTHER, REWARD = PublicKey("r"), PublicKey("o"), PublicKey("w")


def a_gate(**grants: Grant) -> Gate:
    known = {
        ROLLOUT: Grant(key_name="rollout", role=KeyRole.ROLLOUT),
        OTHER: Grant(key_name="rollout-7", role=KeyRole.ROLLOUT, replicas="rollout-7"),
        REWARD: Grant(key_name="reward", role=KeyRole.REWARD),
    }
    return Gate({**known, **grants}.get)


def refusal(gate: Gate, key: PublicKey, body: object) -> RefusalCode | None:
    try:
        gate.check(key, body)
    except NotAllowedError as error:
        return error.code
    return None


def test_every_kind_of_message_is_either_somebodys_to_send_or_only_said_by_listeners():
    kinds = {kind for kind, cls in CLASSES.items() if cls in MAY_SEND}

    assert kinds | SAID_BY_LISTENERS == set(CLASSES)
    assert not kinds & SAID_BY_LISTENERS


@pytest.mark.parametrize("role", KeyRole)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_role_may_send_its_own_kinds_only(kind, role):
    body = BUILDERS[kind]()
    if kind == "hello":
        body = a_hello(role=Role.TRAINER if role is KeyRole.COORDINATOR else Role(role.value))
    gate = a_gate(k=Grant(key_name="k", role=role))

    expected = None if role in MAY_SEND.get(CLASSES[kind], ()) else RefusalCode.WRONG_ROLE
    assert refusal(gate, PublicKey("k"), body) is expected


@pytest.mark.parametrize(
    ("role", "name", "key"),
    [
        (Role.HOST, "host-1", KeyRole.TRAINER),
        (Role.RELAY, "host-1-relay", KeyRole.BROADCASTER),
        (Role.ROLLOUT, "host-1-rollout-0", KeyRole.ROLLOUT),
        (Role.REWARD, "host-1-reward-0", KeyRole.REWARD),
    ],
)
def test_what_an_agent_starts_registers_under_the_shared_keys_and_no_other(role, name, key):
    for held in KeyRole:
        gate = a_gate(k=Grant(key_name=held.value, role=held))
        hello = a_hello(role=role, name=name)
        assert refusal(gate, PublicKey("k"), hello) is (None if held is key else RefusalCode.WRONG_ROLE)


def test_a_key_of_one_host_is_for_all_that_its_agent_starts():
    gate = a_gate(k=Grant(key_name="host-1", role=KeyRole.ROLLOUT, replicas="host-1-*"))

    assert refusal(gate, PublicKey("k"), a_hello(role=Role.ROLLOUT, name="host-1-rollout-0")) is None
    assert refusal(gate, PublicKey("k"), a_hello(role=Role.ROLLOUT, name="host-2-rollout-0")) is RefusalCode.WRONG_NAME


def test_a_reward_cannot_be_a_rollout_nor_a_rollout_of_another_name():
    gate = a_gate()

    assert refusal(gate, REWARD, a_hello()) is RefusalCode.WRONG_ROLE
    assert refusal(gate, OTHER, a_hello(name="rollout-8")) is RefusalCode.WRONG_NAME
    assert refusal(gate, OTHER, a_hello(name="rollout-7")) is None


@pytest.mark.parametrize("body", [a_hello(name="rollout-7"), a_heartbeat(), a_bye(), a_pull()])
def test_a_process_start_belongs_to_the_key_that_named_it_first(body):
    gate = a_gate()
    gate.check(ROLLOUT, a_hello())
    gate.check(ROLLOUT, a_heartbeat())

    assert refusal(gate, OTHER, body) is RefusalCode.WRONG_SESSION


def test_a_rotated_key_inherits_the_starts_of_its_former_one():
    former = Grant(key_name="former-0123abcd-rollout", role=KeyRole.ROLLOUT, until=9e9)
    gate = a_gate(f=former)
    gate.check(PublicKey("f"), a_hello())

    assert refusal(gate, OTHER, a_heartbeat()) is RefusalCode.WRONG_SESSION
    assert refusal(gate, ROLLOUT, a_heartbeat()) is None


def test_one_key_cannot_push_the_starts_of_another_out():
    gate = a_gate()
    gate.check(ROLLOUT, a_hello())

    for number in range(MAX_SESSIONS + 10):
        gate.check(OTHER, a_hello(name="rollout-7", incarnation=Incarnation(f"{number:016x}")))

    assert refusal(gate, OTHER, a_heartbeat()) is RefusalCode.WRONG_SESSION


def test_a_key_that_stands_for_nothing_may_send_nothing():
    assert refusal(a_gate(), PublicKey("revoked"), a_heartbeat()) is RefusalCode.REVOKED_KEY
