"""The queue between a carrier and one reader."""

import asyncio

import pytest

from tetrad_transport.errors import ClosedError
from tetrad_transport.inbox import Inbox


def an_inbox(*items: int, capacity: int = 2) -> Inbox[int]:
    inbox: Inbox[int] = Inbox(capacity)
    for item in items:
        inbox.put_nowait(item)
    return inbox


async def test_items_leave_in_the_order_of_their_arrival():
    inbox = an_inbox(1, 2, 3)

    assert [await inbox.get(), inbox.get_nowait(), await inbox.get()] == [1, 2, 3]


def test_an_empty_inbox_gives_nothing_without_waiting():
    assert an_inbox().get_nowait() is None


def test_there_is_room_below_the_capacity():
    inbox = an_inbox(1)

    assert inbox.has_room
    inbox.put_nowait(2)
    assert not inbox.has_room
    inbox.get_nowait()
    assert inbox.has_room


async def test_a_waiting_reader_is_woken_by_an_item():
    inbox = an_inbox()
    reader = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)

    inbox.put_nowait(7)

    assert await reader == 7


async def test_an_item_that_arrives_with_the_cancellation_stays():
    inbox = an_inbox()
    reader = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)

    inbox.put_nowait(7)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader

    assert inbox.get_nowait() == 7


async def test_a_closed_inbox_gives_what_it_has_and_then_says_so():
    inbox = an_inbox(1)
    inbox.close()

    assert await inbox.get() == 1
    with pytest.raises(ClosedError):
        await inbox.get()


async def test_closing_wakes_a_waiting_reader():
    inbox = an_inbox()
    reader = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)

    inbox.close()

    with pytest.raises(ClosedError):
        await reader
