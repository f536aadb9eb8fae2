"""A replica's links to the broadcaster: which transports it may use, and their check before a model loads.

Where weights come by a relay of this host, both ways are tested: to the relay, and on to the broadcaster that it reads.
"""

from tetrad_config import RolloutSettings, RunConfig, WeightTransportChoice
from tetrad_config.colocation import shares_gpus
from tetrad_config.generator import Backend, WeightSyncBackend
from tetrad_rollout.weights.link_check import Pair, check_connection, check_group
from tetrad_rollout.weights.nccl import Nccl
from tetrad_rollout.weights.place import Place, look_up
from tetrad_rollout.weights.receiver import PREFERRED
from tetrad_runtime.exits import PeerLost
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Transport
from tetrad_transport.keys.role import NOBODY
from tetrad_weights.group_sides import has_gpu
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.weights import WeightTransport

log = get_logger(__name__)


class Links:
    """Of one replica."""

    def __init__(
        self, settings: RolloutSettings, config: RunConfig, transport: Transport, incarnation: Incarnation
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._timeout_s = config.generator.weight_sync_timeout
        # Its GPU is the learner's: nothing may be allocated there before the device lease says so.
        self._is_colocated = shares_gpus(config, settings.name)
        self._is_on_gpu = config.generator.backend is Backend.SGLANG and has_gpu()
        self.incarnation = incarnation
        self.transports = transports(settings.weight_transport, config.generator.weight_sync_backend)
        """In the order of preference."""
        self.bytes_per_s: dict[WeightTransport, float] = {}
        """That each was proved with."""
        self.nccl = Nccl(incarnation=incarnation, replica=settings.name)

    async def check(self) -> None:
        """Prove the connection, and a process group where weights will come by one; raises a Fault naming the pair."""
        if self._settings.relay is not None:
            await self._test(Place(self._settings.relay, NOBODY))
        place = await self._place()
        while True:
            try:
                await self._test(place)
            except PeerLost:
                former, place = place, await self._place()
                if place == former:
                    raise
                log.info("broadcaster_moved", former=former.endpoint, now=place.endpoint)
            else:
                return

    async def _place(self) -> Place:
        """Where the broadcaster is: as we are told, or as the coordinator says, who knows its key too."""
        settings = self._settings
        if settings.broadcaster is not None and settings.keys is None:
            return Place(settings.broadcaster, NOBODY)
        connection = self._transport.connect(settings.coordinator, name=settings.name)
        try:
            found = await look_up(connection, replica=settings.name, coordinator=settings.coordinator)
        finally:
            connection.close()
        return Place(settings.broadcaster or found.endpoint, found.key)

    async def _test(self, place: Place) -> None:
        connection = self._transport.connect(place.endpoint, name=self._settings.name, server_key=place.key)
        pair = Pair(self._settings.name, place.endpoint)
        try:
            socket = await check_connection(connection, pair, timeout_s=self._timeout_s)
            self.bytes_per_s[WeightTransport.SOCKET] = socket
            if self._needs_group or (self._is_on_gpu and self._may_group):
                self.nccl.ask_by(connection.request)
                self.bytes_per_s[WeightTransport.NCCL] = await check_group(
                    self.nccl,
                    pair,
                    is_on_gpu=self._is_on_gpu,
                    is_needed=self._needs_group,
                    timeout_s=self._timeout_s,
                )
        finally:
            connection.close()

    async def close(self) -> None:
        """End the process that receives, where there is one."""
        await self.nccl.end()

    @property
    def _may_group(self) -> bool:
        return WeightTransport.NCCL in self.transports and not self._is_colocated

    @property
    def _needs_group(self) -> bool:
        return self.transports == (WeightTransport.NCCL,) and not self._is_colocated


def transports(choice: WeightTransportChoice, backend: WeightSyncBackend) -> tuple[WeightTransport, ...]:
    """The transports that a replica may use, the preferred one first."""
    if choice is not WeightTransportChoice.AUTO:
        return (WeightTransport(choice.value),)
    if backend is WeightSyncBackend.GLOO:
        return tuple(way for way in PREFERRED if way is not WeightTransport.NCCL)
    return PREFERRED
