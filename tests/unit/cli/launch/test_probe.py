"""A probe knows a page from silence and from strangers."""

import asyncio

from tetrad_cli.launch.ports import free_port
from tetrad_cli.launch.probe import get
from tetrad_telemetry.exporter import Health, Pages, serve

UP, DOWN = Health(ok=True, detail="up"), Health(ok=False, detail="loading")


async def test_a_page_is_read_with_its_status_and_fields():
    async with serve(Pages(metrics=lambda: b"x 1\n", health=lambda: UP, readiness=lambda: DOWN)) as port:
        healthy, ready = await get(port, "/healthz"), await get(port, "/readyz")

    assert healthy.is_ok
    assert not ready.is_ok
    assert ready.fields()["detail"] == "loading"


async def test_nobody_there_is_no_page():
    assert await get(free_port([]), "/healthz") is None


async def test_a_silent_server_is_no_page_at_the_deadline():
    async def silent(_reader, _writer):
        await asyncio.sleep(5)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    assert await get(port, "/healthz", deadline_s=0.1) is None
    server.close()


async def test_a_stranger_that_does_not_speak_http_is_no_page():
    async def stranger(_reader, writer):
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.close()

    server = await asyncio.start_server(stranger, "127.0.0.1", 0)

    assert await get(server.sockets[0].getsockname()[1], "/healthz") is None
    server.close()


def test_a_port_that_is_taken_by_us_is_not_offered_again():
    taken = {free_port(())}

    assert free_port(taken) not in taken
