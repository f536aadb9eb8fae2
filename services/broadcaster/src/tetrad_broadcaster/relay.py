"""The broadcaster's agent on another host: each wanted version crosses the network once, for all engines there.

Follows the desired state like an engine does, and serves what it has fetched like the broadcaster. Decides nothing: an
engine that is wanted to run a version which is not here yet is told so, and asks again.
"""

import asyncio
import random
import time
from typing import Final

from tetrad_broadcaster.broadcaster import Broadcaster
from tetrad_broadcaster.metrics import BroadcasterMetrics, Failure
from tetrad_broadcaster.shelf import Held
from tetrad_broadcaster.upstream import NotServedError, Upstream
from tetrad_runtime.backoff import Backoff
from tetrad_telemetry.logs import get_logger
from tetrad_transport import ClosedError, DeadlineError, PeerFullError, Transport
from tetrad_transport.keys import PublicKey
from tetrad_weights.digest import Bytes
from tetrad_weights.errors import WeightsError
from tetrad_weights.segments import Segment
from tetrad_wire import RemoteProtocolError
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import Desired, WantedWeights
from tetrad_wire.messages.weights import Manifest, WeightTransport

log = get_logger(__name__)

RETRY: Final = Backoff(first_s=0.05, limit_s=2.0, jitter=0.5)


class Relay:
    """Keeps a broadcaster's shelf at the wanted version."""

    def __init__(
        self,
        broadcaster: Broadcaster,
        transport: Transport,
        *,
        name: str,
        incarnation: Incarnation,
        timeout_s: float,
        metrics: BroadcasterMetrics,
    ) -> None:
        self._broadcaster = broadcaster
        self._transport = transport
        self._name = name
        self._incarnation = incarnation
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._wanted: WantedWeights | None = None
        self._endpoint = ""
        self._upstream: Upstream | None = None
        self._changed = asyncio.Event()

    def follow(self, desired: Desired) -> None:
        """Note what is wanted now and where it can be had."""
        if desired.broadcaster and desired.broadcaster != self._endpoint:
            self._connect(desired.broadcaster, PublicKey(desired.broadcaster_key))
        elif self._upstream is not None:
            self._upstream.recognise(PublicKey(desired.broadcaster_key))
        if desired.weights != self._wanted:
            self._wanted = desired.weights
            self._changed.set()

    async def run(self) -> None:
        """Fetch whatever is wanted and not here, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            attempt = 0
            while not self._is_current:
                if not await self._try_once():
                    await asyncio.sleep(RETRY.delay_s(attempt, draw=random.random()))
                    attempt += 1

    def close(self) -> None:
        """Let go of the run's broadcaster."""
        if self._upstream is not None:
            self._upstream.close()

    @property
    def _is_current(self) -> bool:
        wanted = self._wanted
        return wanted is None or wanted.version in self._broadcaster.holds

    async def _try_once(self) -> bool:
        wanted, upstream = self._wanted, self._upstream
        if wanted is None or upstream is None:
            return False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._fetch(wanted, upstream)
        except (NotServedError, DeadlineError, TimeoutError, ClosedError, PeerFullError) as error:
            self._metrics.failed(Failure.UNREACHABLE)
            log.warning("version_not_fetched", version=wanted.version, reason=f"{type(error).__name__}: {error}")
            return False
        except (WeightsError, RemoteProtocolError) as error:
            self._metrics.failed(Failure.MISMATCH)
            log.error("version_refused", version=wanted.version, reason=f"{type(error).__name__}: {error}")  # noqa: TRY400
            return False
        return True

    async def _fetch(self, wanted: WantedWeights, upstream: Upstream) -> None:
        began = time.monotonic()
        segment: Segment | None = None

        def reserve(manifest: Manifest) -> Bytes:
            nonlocal segment
            segment = self._broadcaster.begin_holding(manifest.num_bytes)
            return segment.payload

        try:
            offer = await upstream.fetch(wanted.version, reserve)
        finally:
            if segment is not None:
                segment.end_writing()
        assert segment is not None, "what was fetched lies somewhere"
        self._broadcaster.hold(
            Held(
                version=offer.version,
                step=wanted.step,
                manifest=offer.manifest,
                segment=segment.handle,
                canary=offer.canary,
            )
        )
        seconds = time.monotonic() - began
        self._metrics.version_taken(seconds=seconds, transport=WeightTransport.SOCKET)
        log.info(
            "version_relayed",
            version=offer.version,
            digest=offer.manifest.digest,
            num_bytes=offer.manifest.num_bytes,
            seconds=round(seconds, 4),
        )

    def _connect(self, endpoint: str, key: PublicKey) -> None:
        former, self._endpoint = self._upstream, endpoint
        connection = self._transport.connect(endpoint, name=self._name, server_key=key)
        self._upstream = Upstream(connection, name=self._name, incarnation=self._incarnation, timeout_s=self._timeout_s)
        if former is not None:
            former.close()
        self._changed.set()
