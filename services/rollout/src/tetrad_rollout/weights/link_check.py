"""Whether this replica and the broadcaster can talk, found out before any model loads.

First bytes there and back over the connection, then, where weights will come by collectives, a process group with a
small collective; both measured. What fails is named with both ends. The group is kept for the first version.
"""

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrad_rollout.weights.nccl import Nccl
from tetrad_runtime.exits import MachineFault, PeerLost
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Connection, DeadlineError
from tetrad_weights.errors import GroupBrokenError, GroupUnusableError
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.messages.groups import LinkEchoed, TestLink

ECHO_BYTES: Final = 4 << 20
SHORT_BYTES: Final = 1 << 10
RESEND_S: Final = 1.0
LIMIT_S: Final = 60.0
"""Of the echo: the broadcaster may still be starting."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both ends, for people."""

    replica: str
    broadcaster: str
    """Its endpoint."""

    def __str__(self) -> str:
        """As in a message."""
        return f"{self.replica} and the broadcaster at {self.broadcaster}"


async def check_connection(connection: Connection, pair: Pair, *, timeout_s: float) -> float:
    """Bytes per second there and back; raises PeerLost where they do not come back, or not as they went."""
    limit_s = min(timeout_s, LIMIT_S)
    # The first one also waits until the connection is there.
    await _echo(connection, pair, num_bytes=SHORT_BYTES, limit_s=limit_s)
    seconds = await _echo(connection, pair, num_bytes=ECHO_BYTES, limit_s=limit_s)
    bytes_per_s = 2 * ECHO_BYTES / seconds
    log.info("link_tested", way="socket", pair=str(pair), gigabytes_per_s=round(bytes_per_s / 1e9, 3))
    return bytes_per_s


async def check_group(nccl: Nccl, pair: Pair, *, is_on_gpu: bool, is_needed: bool, timeout_s: float) -> float:
    """Bytes per second of a collective; 0 where there is no group, and the weights will come otherwise.

    Raises PeerLost or MachineFault where they could come in no other way.
    """
    try:
        link = await nccl.form(is_on_gpu=is_on_gpu, start_s=timeout_s, limit_s=timeout_s)
    except (GroupBrokenError, GroupUnusableError) as error:
        if is_needed:
            fault = PeerLost if isinstance(error, GroupBrokenError) else MachineFault
            raise fault(f"{pair}: {error}") from error
        log.warning("link_test_failed", way="nccl", pair=str(pair), reason=str(error))
        return 0.0
    log.info("link_tested", way="nccl", pair=str(pair), gigabytes_per_s=round(link.bytes_per_s / 1e9, 3))
    return link.bytes_per_s


async def _echo(connection: Connection, pair: Pair, *, num_bytes: int, limit_s: float) -> float:
    data = np.arange(num_bytes, dtype=np.uint32).view(np.uint8)[:num_bytes]
    began = time.monotonic()
    try:
        reply = await connection.request(TestLink(data=data), timeout_s=limit_s, resend_s=RESEND_S)
    except DeadlineError:
        raise PeerLost(
            f"{pair}: {num_bytes} bytes did not come back within {limit_s:g} s; is it running, and does its endpoint "
            "lead to it from here?"
        ) from None
    if not isinstance(reply, LinkEchoed):
        raise RemoteProtocolError(Violation.SCHEMA, f"{type(reply).__name__} is no echo")
    if not np.array_equal(reply.data, data):
        raise PeerLost(f"{pair}: {num_bytes} bytes came back changed")
    return time.monotonic() - began
