"""Which endpoints may be used, and what the others are told."""

import pytest

from tetrad_transport.endpoints import MAX_IPC_PATH_BYTES, check_endpoint, check_private


@pytest.mark.parametrize("endpoint", ["ipc:///tmp/x", "memory://x", "ipc:///" + "x" * (MAX_IPC_PATH_BYTES - 1)])
def test_local_endpoints_are_good(endpoint):
    assert check_endpoint(endpoint) == endpoint


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "[::1]"])
def test_clear_tcp_on_loopback_needs_permission(host):
    endpoint = f"tcp://{host}:5555"

    assert check_endpoint(endpoint, allow_clear_tcp=True) == endpoint
    with pytest.raises(ValueError, match=r"is clear TCP; use ipc:// on one host, name a folder of keys in"):
        check_endpoint(endpoint)


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "10.0.0.1", "reward.example", "[::]", "127.0.0.1.example"])
def test_clear_tcp_beyond_loopback_is_refused_even_with_permission(host):
    with pytest.raises(
        ValueError,
        match=r"without keys; make keys with `tetrad keys init` and name their",
    ):
        check_endpoint(f"tcp://{host}:5555", allow_clear_tcp=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "*", "10.0.0.1", "reward.example"])
def test_with_keys_every_host_will_do(host):
    endpoint = f"tcp://{host}:5555"

    assert check_endpoint(endpoint, has_keys=True) == endpoint


def test_a_folder_that_is_open_to_others_holds_no_socket(tmp_path):
    tmp_path.chmod(0o750)

    with pytest.raises(ValueError, match=f"{tmp_path} has mode 0750, open to others; chmod 700 {tmp_path}"):
        check_private(f"ipc://{tmp_path}/s")

    tmp_path.chmod(0o700)
    check_private(f"ipc://{tmp_path}/s")


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("", "use ipc://PATH or tcp://HOST:PORT"),
        ("/tmp/x", "use ipc://PATH or tcp://HOST:PORT"),
        ("http://127.0.0.1:80", "use ipc://PATH or tcp://HOST:PORT"),
        ("inproc://x", "use ipc://PATH or tcp://HOST:PORT"),
        ("ipc://", "ipc path of 0 bytes; it needs 1 to 107"),
        ("ipc:///" + "ü" * 54, "ipc path of 109 bytes; it needs 1 to 107: choose a shorter runtime directory"),
        ("tcp://127.0.0.1", "tcp needs a host and a port"),
        ("tcp://:5555", "tcp needs a host and a port"),
        ("tcp://127.0.0.1:*", "tcp needs a host and a port"),
        ("tcp://127.0.0.1:99999", "tcp needs a host and a port"),
        ("tcp://[::1:5555", "tcp needs a host and a port"),
    ],
)
def test_what_is_no_endpoint_is_refused_with_the_fix(endpoint, reason):
    with pytest.raises(ValueError, match=reason):
        check_endpoint(endpoint, allow_clear_tcp=True)
