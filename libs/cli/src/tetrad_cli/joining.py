"""Finding a run on another host: asks its coordinator what is run there.

Owns the one conversation. What is then started here is `host_fleet`'s business.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from tetrad_cli.announce import to_terminal
from tetrad_cli.key_place import key_folder
from tetrad_cli.places import KEYS, clear_tcp
from tetrad_runtime.exits import ConfigFault, PeerLost
from tetrad_runtime.network import address_towards
from tetrad_transport import DeadlineError, RefusedError, ZmqTransport
from tetrad_transport.endpoints import check_endpoint
from tetrad_transport.keys import Keyring, KeyRole, KeysError
from tetrad_transport.refusal import OnRefusal, Refusal
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.messages.joining import AskRun, RunDescribed

RESEND_S: Final = 1.0


def reachable(endpoint: str, environ: Mapping[str, str]) -> str:
    """Return an endpoint between hosts; raise ConfigFault where it cannot be used, saying what to set."""
    if not endpoint.startswith("tcp://") or endpoint.endswith((":0", ":*")):
        raise ConfigFault(f"endpoint {endpoint!r}: between hosts it is tcp://ADDRESS:PORT, with a port above 0")
    try:
        return check_endpoint(endpoint, allow_clear_tcp=clear_tcp(environ), has_keys=KEYS in environ)
    except ValueError as error:
        raise ConfigFault(str(error)) from error


def own_address(endpoint: str) -> str:
    """Return the address of this host on the way to an endpoint; raise MachineFault where there is no way."""
    parts = urlsplit(endpoint)
    return address_towards(parts.hostname or "", parts.port or 0)


def ask_run(
    endpoint: str,
    *,
    name: str,
    timeout_s: float,
    environ: Mapping[str, str] = os.environ,
    say: Callable[[str], None] = to_terminal,
) -> RunDescribed:
    """Return what is run at a coordinator's endpoint.

    A key that is turned away is told at once; it may be admitted while we wait. Raises PeerLost where nobody answers in
    time, ConfigFault where our key is refused there.
    """
    refusals: list[Refusal] = []

    def note(refusal: Refusal) -> None:
        refusals.append(refusal)
        if len(refusals) == 1:
            say(f"{_turned_away(endpoint, name, refusal)}; {name} tries again for {timeout_s:g} s")

    try:
        return asyncio.run(_ask(endpoint, name, timeout_s, environ, note))
    except RefusedError as error:
        raise ConfigFault(f"the coordinator at {endpoint} refuses {name}: {error}") from error
    except DeadlineError as error:
        if refusals:
            raise ConfigFault(f"{_turned_away(endpoint, name, refusals[-1])}; gave up after {timeout_s:g} s") from error
        raise PeerLost(
            f"no run answers at {endpoint} within {timeout_s:g} s; start it there with --listen {endpoint}, and let "
            "TCP through between the two hosts"
        ) from error


def _turned_away(endpoint: str, name: str, refusal: Refusal) -> str:
    return (
        f"the coordinator at {endpoint} and {name} are no peers: {refusal.detail}; copy private/{KeyRole.TRAINER}.key "
        f"and public/{KeyRole.COORDINATOR}.key from the head's folder of keys (tetrad keys export agent)"
    )


async def _ask(
    endpoint: str, name: str, timeout_s: float, environ: Mapping[str, str], on_refusal: OnRefusal
) -> RunDescribed:
    transport = ZmqTransport(allow_clear_tcp=clear_tcp(environ), keyring=_keyring(name, environ), on_refusal=on_refusal)
    connection = transport.connect(endpoint, name=name)
    try:
        reply = await connection.request(AskRun(name=name), timeout_s=timeout_s, resend_s=RESEND_S)
    finally:
        connection.close()
        transport.close()
    if not isinstance(reply, RunDescribed):
        raise RemoteProtocolError(Violation.SCHEMA, f"{type(reply).__name__} does not say what is run")
    return reply


def _keyring(name: str, environ: Mapping[str, str]) -> Keyring | None:
    """The keys by which a host of the learner speaks; None where it is told of none."""
    if KEYS not in environ:
        return None
    try:
        return Keyring(key_folder(environ), role=KeyRole.TRAINER, name=name)
    except KeysError as error:
        raise ConfigFault(str(error)) from error
