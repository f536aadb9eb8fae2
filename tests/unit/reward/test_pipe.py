import asyncio
import socket

import pytest

from tetrad_reward.frames import frame_of
from tetrad_reward.pipe import Pipe


class Heard:
    """What a pipe has told, and an event for its end."""

    def __init__(self):
        self.values = []
        self.broken = []
        self.ended = asyncio.Event()


@pytest.fixture
async def ends():
    ours, theirs = socket.socketpair()
    heard = Heard()
    pipe = Pipe(ours, on_value=heard.values.append, on_broken=heard.broken.append, on_end=heard.ended.set)
    with theirs:
        yield pipe, theirs, heard
    pipe.close()


async def test_the_last_words_of_a_dead_worker_are_heard_although_writing_to_it_fails(ends):
    pipe, theirs, heard = ends
    pipe.send(frame_of("never read"))
    theirs.sendall(frame_of("last words"))
    theirs.close()

    pipe.send(frame_of("to nobody"))
    pipe.send(frame_of("to nobody"))
    async with asyncio.timeout(5):
        await heard.ended.wait()

    assert heard.values == ["last words"]


async def test_more_than_the_kernel_holds_is_sent_as_the_worker_reads(ends):
    pipe, theirs, _ = ends
    frames = [frame_of("x" * 1_000_000) for _ in range(4)]
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()

    for frame in frames:
        pipe.send(frame)
    received = b""
    async with asyncio.timeout(10):
        while len(received) < sum(map(len, frames)):
            received += await loop.sock_recv(theirs, 1 << 20)

    assert received == b"".join(frames)


async def test_garbage_is_told(ends):
    _, theirs, heard = ends

    theirs.sendall(b"\xff" * 64)
    theirs.close()
    async with asyncio.timeout(5):
        await heard.ended.wait()

    assert heard.values == []
    assert "limit" in heard.broken[0]


async def test_a_closed_pipe_takes_no_more(ends):
    pipe, _, heard = ends

    pipe.close()
    pipe.close()
    pipe.send(frame_of("x"))

    assert not heard.ended.is_set()
