"""Finished samples until the coordinator has them: sent at once, sent again until acknowledged.

Pure of sockets: `send` says whether a message was taken. Bounded by the credit of the leases.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tetrad_wire.ids import Draw, Token
from tetrad_wire.messages.leases import Disposition, Lane, SampleAck, SampleFinished

RESEND_S: Final = 2.0

Slot = tuple[Lane, int, Draw, int, Token]


@dataclass(slots=True)
class _Parcel:
    sample: SampleFinished
    sent_at: float


class Outbox:
    """Samples on their way."""

    def __init__(self, send: Callable[[SampleFinished], bool]) -> None:
        self._send = send
        self._parcels: dict[Slot, _Parcel] = {}

    def post(self, sample: SampleFinished, now: float) -> None:
        """Send a sample and keep it until it is acknowledged."""
        self._parcels[_slot(sample)] = _Parcel(sample, now)
        self._send(sample)

    def take_acks(self, acks: Iterable[SampleAck]) -> list[SampleAck]:
        """Forget what is acknowledged; return the acknowledgements that refused a sample."""
        refused = []
        for ack in acks:
            self._parcels.pop((ack.lane, ack.round, ack.draw, ack.index, ack.token), None)
            if ack.disposition is Disposition.REFUSED:
                refused.append(ack)
        return refused

    def resend(self, now: float, *, all_at_once: bool = False) -> int:
        """Send again what has waited too long, or everything to a coordinator that is new; return how many."""
        due = [parcel for parcel in self._parcels.values() if all_at_once or now - parcel.sent_at > RESEND_S]
        for parcel in due:
            parcel.sent_at = now
            self._send(parcel.sample)
        return len(due)

    def __len__(self) -> int:
        """Samples not acknowledged yet."""
        return len(self._parcels)

    def holds(self, token: Token) -> bool:
        """Whether a lease still has samples on their way."""
        return any(slot[-1] == token for slot in self._parcels)


def _slot(sample: SampleFinished) -> Slot:
    return sample.lane, sample.round, sample.draw, sample.index, sample.token
