"""What is offered to an engine: the same version by whichever transport the engine can use. Pure.

How the bytes then move is the transport's own business: engines read a segment by themselves, `chunks` sends what
they ask for.
"""

from functools import partial
from typing import assert_never

from tetrad_broadcaster.shelf import Held
from tetrad_wire.messages.weights import VersionOffered, WeightTransport


def offer(held: Held, transport: WeightTransport, *, deadline_s: float) -> VersionOffered:
    """Offer a held version; the handle is that of the transport."""
    bare = partial(VersionOffered, version=held.version, manifest=held.manifest, transport=transport)
    match transport:
        case WeightTransport.SHARED_MEMORY:
            return bare(segment=held.segment, deadline_s=deadline_s)
        case WeightTransport.SOCKET:
            return bare(deadline_s=deadline_s)
        case _:
            assert_never(transport)
