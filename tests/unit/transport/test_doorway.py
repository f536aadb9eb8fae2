"""The door of a listener is closed while strangers come and go."""

import asyncio
import contextlib
import socket
import threading

import pytest

from tetrad_transport import ZmqTransport


@contextlib.contextmanager
def strangers(port: int):
    """Connections that come and go without a pause."""
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                pass

    threads = [threading.Thread(target=come_and_go, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@pytest.mark.timeout(60)
async def test_a_listener_closes_amid_strangers():
    for _ in range(30):
        transport = ZmqTransport(allow_clear_tcp=True)
        listener = transport.listen("tcp://127.0.0.1:*")
        with strangers(int(listener.endpoint.rpartition(":")[2])):
            await asyncio.sleep(0.02)
            listener.close()
        transport.close()


@pytest.mark.timeout(60)
async def test_a_listener_that_was_not_read_for_long_still_closes():
    transport = ZmqTransport(allow_clear_tcp=True)
    listener = transport.listen("tcp://127.0.0.1:*")
    port = int(listener.endpoint.rpartition(":")[2])

    for _ in range(3000):  # more events than a queue of libzmq holds, and nobody reads them
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    listener.close()
    transport.close()
