"""A bounded queue between a socket's callback and one reader.

Pure of sockets. `has_room` tells the carrier when to stop reading, so that the peer's high-water mark does the rest.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from tetrad_transport.errors import ClosedError

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """First in, first out; one reader; `put_nowait` never blocks."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[Item] = deque()
        self._capacity = capacity
        self._arrived = asyncio.Event()
        self._is_closed = False

    @property
    def has_room(self) -> bool:
        """Whether the carrier may read on."""
        return len(self._items) < self._capacity

    def put_nowait(self, item: Item) -> None:
        """Append; the carrier asked `has_room` before it read."""
        self._items.append(item)
        self._arrived.set()

    def get_nowait(self) -> Item | None:
        """Take the oldest item, or None."""
        return self._items.popleft() if self._items else None

    async def get(self) -> Item:
        """Wait for an item; raise ClosedError once closed and empty."""
        while not self._items:
            if self._is_closed:
                raise ClosedError("the channel is closed")
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()

    def close(self) -> None:
        """Wake the reader; what is queued can still be taken."""
        self._is_closed = True
        self._arrived.set()
