"""Where the broadcaster is, asked of the coordinator before this replica joins the run.

Owns the one conversation. Between hosts the broadcaster takes any free port, and only the coordinator hears which.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from tetrad_runtime.exits import ConfigFault, PeerLost
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Connection, DeadlineError, PublicKey, RefusedError
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.messages.joining import AskRun, RunDescribed

LOOK_UP_S: Final = 600.0
"""As long as a member waits for a silent coordinator: pods of a cluster start in any order."""
RESEND_S: Final = 1.0
AGAIN_S: Final = 0.5

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """How to reach the broadcaster."""

    endpoint: str
    key: PublicKey
    """Empty where no keys are used."""


async def look_up(connection: Connection, *, replica: str, coordinator: str, timeout_s: float = LOOK_UP_S) -> Place:
    """Return where the coordinator says that the broadcaster is, once there is one.

    Raises PeerLost where nobody answers in time, or no broadcaster has come; ConfigFault where our key is refused.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    pair, is_answered = f"{replica} and the coordinator at {coordinator}", False
    while (left_s := deadline - loop.time()) > 0:
        try:
            reply = await connection.request(AskRun(name=replica), timeout_s=left_s, resend_s=RESEND_S)
        except RefusedError as error:
            raise ConfigFault(f"{pair}: {error}") from error
        except DeadlineError:
            break
        if not isinstance(reply, RunDescribed):
            raise RemoteProtocolError(Violation.SCHEMA, f"{type(reply).__name__} does not say what is run")
        if reply.broadcaster:
            return Place(reply.broadcaster, PublicKey(reply.broadcaster_key))
        if not is_answered:
            log.info("broadcaster_awaited", coordinator=coordinator)
        is_answered = True
        await asyncio.sleep(min(AGAIN_S, left_s))
    what = "no broadcaster has registered there" if is_answered else "it did not answer"
    raise PeerLost(f"{pair}: {what} within {timeout_s:g} s; is it running, and does its endpoint lead to it from here?")
