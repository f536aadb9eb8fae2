"""A service registers, shows that it lives, and follows."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
import pytest

from tetrad_testing.builders import a_bye, a_desired, a_heartbeat, a_hello, a_revocation, a_turn
from tetrad_testing.conformance.channel_site import eventually, soon
from tetrad_transport import ClosedError, Listener, MemoryTransport, PeerId
from tetrad_transport.membership import CoordinatorLostError, Member, new_incarnation
from tetrad_wire import Message
from tetrad_wire.messages.membership import Bye, Desired, Heartbeat, Hello, RunState

BEAT_S = 0.02
ENDPOINT = "memory://coordinator"


@dataclass
class Service:
    """A member on one side and its coordinator's socket on the other."""

    transport: MemoryTransport
    coordinator: Listener
    member: Member
    running: asyncio.Task[None]
    followed: list[Desired]
    told: list[Message]
    peer: PeerId = field(default=PeerId(b""))

    async def said(self) -> msgspec.Struct:
        """The next thing that the member says."""
        delivery = await soon(self.coordinator.receive())
        self.peer = delivery.peer
        return delivery.message.body

    async def register(self, **desired: object) -> None:
        """Answer the Hello, and read the heartbeat that follows at once."""
        assert isinstance(await self.said(), Hello)
        self.tell(a_desired(**{"heartbeat_s": BEAT_S} | desired))
        assert isinstance(await self.said(), Heartbeat)

    def tell(self, body: msgspec.Struct, *, epoch: int = 1) -> None:
        """Say something to the member."""
        self.coordinator.stamp.epoch = epoch
        self.coordinator.send_nowait(self.peer, body)

    def restart_coordinator(self) -> None:
        """Another process takes the endpoint."""
        self.coordinator.close()
        self.coordinator = self.transport.listen(ENDPOINT)


@contextlib.asynccontextmanager
async def a_service(*, lost_after_s: float = 60.0) -> AsyncIterator[Service]:
    transport = MemoryTransport()
    connection = transport.connect(ENDPOINT, name="rollout-0")
    followed: list[Desired] = []
    told: list[Message] = []
    member = Member(
        connection,
        hello=a_hello(),
        pulse=lambda generation: a_heartbeat(generation=generation),
        on_desired=followed.append,
        on_message=told.append,
        lost_after_s=lost_after_s,
    )
    running = asyncio.create_task(member.run())
    service = Service(transport, transport.listen(ENDPOINT), member, running, followed, told)
    try:
        yield service
    finally:
        running.cancel()
        await asyncio.wait([running])
        connection.close()
        service.coordinator.close()


async def test_a_member_says_hello_first():
    async with a_service() as service:
        assert await service.said() == a_hello()
        assert not service.member.is_registered


async def test_hello_is_repeated_until_it_is_answered():
    async with a_service() as service:
        assert [await service.said() for _ in range(2)] == [a_hello()] * 2


async def test_an_answered_member_is_registered_and_beats_at_once():
    async with a_service() as service:
        await service.said()
        service.tell(a_desired(generation=7, heartbeat_s=60.0))

        assert await service.said() == a_heartbeat(generation=7)
        assert service.member.is_registered
        assert service.followed == [a_desired(generation=7, heartbeat_s=60.0)]


async def test_heartbeats_come_in_the_rhythm_of_the_coordinator():
    async with a_service() as service:
        await service.register(heartbeat_s=0.1)
        loop = asyncio.get_running_loop()

        started = loop.time()
        beats = [await service.said() for _ in range(3)]

        assert all(isinstance(beat, Heartbeat) for beat in beats)
        assert loop.time() - started >= 0.19


async def test_every_desired_state_is_followed_the_repeated_ones_too():
    async with a_service() as service:
        await service.register(generation=1)
        for generation in (2, 2, 3):
            service.tell(a_desired(generation=generation, heartbeat_s=BEAT_S))

        await eventually(lambda: [desired.generation for desired in service.followed] == [1, 2, 2, 3])
        while (await service.said()).generation != 3:
            pass


async def test_something_worth_telling_is_told_at_once():
    async with a_service() as service:
        await service.register(heartbeat_s=60.0)

        service.member.beat_now()

        assert isinstance(await service.said(), Heartbeat)


@pytest.mark.parametrize("state", [RunState.DRAINING, RunState.ENDED, RunState.STALLED])
async def test_a_new_state_of_the_run_is_answered_at_once(state):
    async with a_service() as service:
        await service.register(heartbeat_s=60.0)

        service.tell(a_desired(state=state, heartbeat_s=60.0))

        assert isinstance(await service.said(), Heartbeat)


async def test_a_heartbeat_and_its_answer_do_not_chase_each_other_while_the_run_drains():
    async with a_service() as service:
        await service.register(heartbeat_s=60.0)
        draining = a_desired(state=RunState.DRAINING, heartbeat_s=60.0)
        service.tell(draining)
        await service.said()

        for _ in range(3):
            service.tell(draining)
        await eventually(lambda: len(service.followed) == 5)
        for _ in range(10):
            await asyncio.sleep(0)

        assert service.coordinator.receive_nowait() is None


async def test_a_member_that_is_not_known_registers_again():
    async with a_service() as service:
        await service.register(heartbeat_s=60.0)

        service.tell(a_desired(should_register=True))

        assert await service.said() == a_hello()
        assert not service.member.is_registered
        assert len(service.followed) == 1


async def test_a_restarted_coordinator_is_followed_by_its_higher_epoch():
    async with a_service() as service:
        await service.register()
        service.restart_coordinator()

        assert isinstance(await service.said(), Heartbeat)
        service.tell(a_desired(should_register=True), epoch=2)
        while not isinstance(await service.said(), Hello):
            pass
        service.tell(a_desired(generation=1, heartbeat_s=BEAT_S), epoch=2)

        await eventually(lambda: service.member.is_registered)
        delivery = await soon(service.coordinator.receive())
        assert delivery.message.epoch == 2


async def test_the_word_of_a_coordinator_that_was_replaced_is_not_followed():
    async with a_service() as service:
        await service.said()
        service.tell(a_desired(generation=9, heartbeat_s=BEAT_S), epoch=3)
        await service.said()

        service.tell(a_desired(generation=10, heartbeat_s=BEAT_S), epoch=2)
        service.tell(a_desired(generation=11, heartbeat_s=BEAT_S), epoch=3)

        await eventually(lambda: [desired.generation for desired in service.followed] == [9, 11])


async def test_the_run_is_learned_from_the_coordinator_and_another_is_refused():
    async with a_service() as service:
        await service.register(run="run-1")
        assert (await soon(service.coordinator.receive())).message.run == "run-1"

        service.coordinator.stamp.run = "run-2"
        service.tell(a_desired(generation=99))
        service.coordinator.stamp.run = "run-1"
        service.tell(a_desired(generation=5))

        await eventually(lambda: [desired.generation for desired in service.followed] == [3, 5])


async def test_other_messages_are_handed_to_the_service():
    async with a_service() as service:
        await service.register()

        service.tell(a_revocation())

        await eventually(lambda: [message.body for message in service.told] == [a_revocation()])


async def test_silence_of_the_coordinator_is_an_error_in_the_end():
    async with a_service(lost_after_s=0.1) as service:
        await service.register()

        with pytest.raises(CoordinatorLostError, match=r"no word from the coordinator for .* s; the limit is 0\.1 s"):
            await soon(service.running)


async def test_a_coordinator_that_never_was_is_an_error_in_the_end():
    async with a_service(lost_after_s=0.1) as service:
        service.coordinator.close()

        with pytest.raises(CoordinatorLostError):
            await soon(service.running)


async def test_a_coordinator_that_speaks_is_not_lost():
    async with a_service(lost_after_s=0.5) as service:
        await service.register()
        loop = asyncio.get_running_loop()
        started = loop.time()

        while loop.time() - started < 0.8:
            await service.said()
            service.tell(a_desired(heartbeat_s=BEAT_S))

        assert not service.running.done()


async def test_a_closed_connection_ends_the_member():
    async with a_service() as service:
        await service.register()

        service.member._connection.close()

        with pytest.raises(ClosedError):
            await soon(service.running)


async def test_what_the_service_raises_ends_the_member():
    async with a_service() as service:
        await service.register()
        service.member._on_message = _refuse

        service.tell(a_turn())

        with pytest.raises(LookupError, match="StepEpisode"):
            await soon(service.running)


def _refuse(message: Message) -> None:
    raise LookupError(type(message.body).__name__)


async def test_leaving_says_farewell():
    async with a_service() as service:
        await service.register(heartbeat_s=60.0)

        service.member.leave("drained")

        assert await service.said() == a_bye(reason="drained")
        assert isinstance(a_bye(), Bye)


async def test_a_full_outbox_is_told_and_not_raised():
    transport = MemoryTransport(high_water_mark=1)
    member = Member(
        transport.connect(ENDPOINT, name="rollout-0"),
        hello=a_hello(),
        pulse=lambda generation: a_heartbeat(generation=generation),
        on_desired=lambda _desired: None,
        on_message=lambda _message: None,
    )

    assert [member.send(a_turn()), member.send(a_turn())] == [True, False]


def test_each_start_of_a_process_has_a_name_of_its_own():
    assert len({new_incarnation() for _ in range(100)}) == 100
