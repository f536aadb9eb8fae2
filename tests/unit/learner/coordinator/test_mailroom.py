"""What the coordinator answers to those who ask before they join."""

import asyncio

import pytest

from tetrad_config import RunConfig
from tetrad_learner.coordinator.mailroom import Mailroom
from tetrad_learner.coordinator.registry import Registry
from tetrad_learner.coordinator.tasks import Tasks
from tetrad_testing.builders.membership import a_hello, a_run_description
from tetrad_testing.builders.values import RUN
from tetrad_transport import MemoryTransport, PeerId, PublicKey
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.joining import AskRun, RunDescribed
from tetrad_wire.messages.membership import Hello, Role

pytestmark = pytest.mark.timeout(30)
ABOUT = a_run_description(broadcaster="")


async def asked(registry: Registry) -> RunDescribed:
    """What a replica hears that asks now."""
    transport = MemoryTransport()
    listener = transport.listen("memory://coordinator")
    mailroom = Mailroom(listener, registry, Tasks(RunConfig(), None, ()), secret="s", about=ABOUT)
    connection = transport.connect("memory://coordinator", name="rollout-0")
    asking = asyncio.create_task(connection.request(AskRun(name="rollout-0"), timeout_s=10.0))
    delivery = await listener.receive()
    mailroom.describe(delivery.peer, reply_to=delivery.message.id)
    reply = await asking
    assert isinstance(reply, RunDescribed)
    return reply


def a_broadcaster(incarnation: str, endpoint: str) -> Hello:
    return a_hello(
        role=Role.BROADCASTER,
        name="broadcaster",
        incarnation=Incarnation(incarnation),
        endpoint=endpoint,
        rollout=None,
    )


async def test_whoever_asks_before_joining_hears_where_the_newest_broadcaster_is_and_its_key():
    registry = Registry(RUN)
    for number in (1, 2):
        hello = a_broadcaster(f"b{number}", f"tcp://10.0.0.1:700{number}")
        registry.register(PeerId(b"b"), hello, 0.0, key=PublicKey(f"key-{number}"))

    reply = await asked(registry)

    assert (reply.broadcaster, reply.broadcaster_key) == ("tcp://10.0.0.1:7002", "key-2")
    assert reply.config == ABOUT.config


async def test_before_there_is_a_broadcaster_none_is_named():
    assert await asked(Registry(RUN)) == ABOUT
