"""Free TCP ports on the loopback interface.

Owns nothing: a port is free when it is asked for and may be taken a moment later, so each start asks anew.
"""

import socket
from collections.abc import Collection
from typing import Final

MAX_DRAWS: Final = 100


def free_port(taken: Collection[int]) -> int:
    """Return a port that nobody listens on and that is not in `taken`; raises OSError when none is found."""
    for _ in range(MAX_DRAWS):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
    raise OSError(f"no free port outside the {len(taken)} that are taken, after {MAX_DRAWS} draws")
