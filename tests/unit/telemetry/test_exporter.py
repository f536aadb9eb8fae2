"""The pages answer what they should, and a bad client cannot hurt them."""

import asyncio
import json
import os
import socket

import pytest
import structlog.testing

from tetrad_telemetry import exporter
from tetrad_telemetry.exporter import MAX_CONNECTIONS, MAX_REQUEST_BYTES, Health, Pages, serve


class Service:
    def __init__(self):
        self.health = Health(ok=True, detail="ready")
        self.readiness = Health(ok=False, detail="waiting for weights")

    def pages(self):
        return Pages(metrics=lambda: b"up 1\n", health=lambda: self.health, readiness=lambda: self.readiness)


async def talk(port, request, *, close_early=False):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    if close_early:
        writer.write_eof()
    async with asyncio.timeout(5):
        reply = await reader.read()
    writer.close()
    head, _, body = reply.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else None), body, head


async def hung_up(reader, writer):
    try:
        async with asyncio.timeout(4):
            return await reader.read() == b""
    except ConnectionResetError:
        return True
    finally:
        writer.close()


async def get(port, path, method="GET"):
    return await talk(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_metrics_are_served_as_prometheus_text():
    async with serve(Service().pages()) as port:
        status, body, head = await get(port, "/metrics")

    assert (status, body) == (200, b"up 1\n")
    assert b"text/plain; version=0.0.4" in head


@pytest.mark.parametrize(("host", "is_told"), [(None, False), ("127.0.0.1", False), ("0.0.0.0", True)])
async def test_pages_stay_on_loopback_unless_opened_and_that_is_told(host, is_told):
    with structlog.testing.capture_logs() as lines:
        async with serve(Service().pages(), **({} if host is None else {"host": host})) as port:
            # Every address of 127/8 is this host: only a server on all addresses is found on another one.
            is_found = await asyncio.to_thread(is_listening, "127.0.0.2", port)

    told = [line for line in lines if line["event"] == "pages_open_to_the_network"]
    assert is_found is is_told
    assert [(line["log_level"], line["host"]) for line in told] == [("warning", host)] * is_told


def is_listening(host, port):
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except ConnectionRefusedError:
        return False


async def test_health_and_readiness_follow_their_callables():
    service = Service()
    async with serve(service.pages()) as port:
        before = [(await get(port, path))[0] for path in ("/healthz", "/readyz")]
        service.readiness = Health(ok=True, detail="ready")
        after = [(await get(port, path))[0] for path in ("/healthz", "/readyz")]

    assert (before, after) == ([200, 503], [200, 200])


async def test_a_refusal_names_what_is_waited_for_and_who_answers():
    async with serve(Service().pages()) as port:
        _, body, _ = await get(port, "/readyz")

    assert json.loads(body) == {"ok": False, "detail": "waiting for weights", "pid": os.getpid()}


@pytest.mark.parametrize("path", ["/", "/metricsx", "/metrics/", "/../etc/passwd"])
async def test_other_paths_are_not_found(path):
    async with serve(Service().pages()) as port:
        assert (await get(port, path))[0] == 404


async def test_a_query_is_ignored():
    async with serve(Service().pages()) as port:
        assert (await get(port, "/metrics?name=x"))[0] == 200


async def test_head_has_no_body_and_post_is_refused():
    async with serve(Service().pages()) as port:
        assert (await get(port, "/metrics", "HEAD"))[:2] == (200, b"")
        assert (await get(port, "/metrics", "POST"))[0] == 405


@pytest.mark.parametrize("request_", [b"\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"a b c d\r\n\r\n"])
async def test_what_is_not_http_is_a_bad_request(request_):
    async with serve(Service().pages()) as port:
        assert (await talk(port, request_))[0] == 400


async def test_a_request_that_ends_early_is_a_bad_request():
    async with serve(Service().pages()) as port:
        assert (await talk(port, b"GET /metrics", close_early=True))[0] == 400


async def test_an_oversized_request_is_refused_and_the_server_goes_on():
    async with serve(Service().pages()) as port:
        status, _, _ = await talk(port, b"GET /" + b"x" * (2 * MAX_REQUEST_BYTES) + b"\r\n\r\n")

        assert status == 431
        assert (await get(port, "/metrics"))[0] == 200


async def test_a_client_that_says_nothing_is_dropped_at_the_deadline(monkeypatch):
    monkeypatch.setattr(exporter, "REQUEST_DEADLINE_S", 0.05)
    async with serve(Service().pages()) as port:
        assert await hung_up(*await asyncio.open_connection("127.0.0.1", port))


async def test_more_open_connections_than_the_limit_are_closed_at_once():
    async with serve(Service().pages()) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]

        assert await hung_up(*await asyncio.open_connection("127.0.0.1", port))
        for _, writer in silent:
            writer.close()


async def test_the_end_of_the_server_ends_open_connections():
    async with serve(Service().pages()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await get(port, "/healthz")

    assert await hung_up(reader, writer)


async def test_a_taken_port_is_an_error():
    async with serve(Service().pages()) as port:
        with pytest.raises(OSError, match="address already in use"):
            async with serve(Service().pages(), port=port):
                pass
