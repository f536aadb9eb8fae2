"""What libzmq tells of a socket: connections accepted and lost, handshakes that failed."""

from collections.abc import Callable

import zmq
from zmq.utils.monitor import parse_monitor_message

from tetrad_transport.readable import Readable


class SocketEvents:
    """Calls back with (event, value) of the events that were asked for, in the event loop."""

    def __init__(self, socket: "zmq.Socket[bytes]", events: int, take: Callable[[int, int], None]) -> None:
        self._socket = socket
        self._take = take
        address = f"inproc://events-{socket.FD}"
        socket.monitor(address, events)
        reader: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
        # Without a limit: libzmq's thread waits for room, and with it all sockets of the process. An event is small,
        # and connections come no faster than they are read here.
        reader.rcvhwm = 0
        reader.connect(address)
        self._readable = Readable(reader, self._parse)

    def close(self) -> None:
        """Stop watching; before the socket is closed."""
        # In this order: libzmq would wait for ever to tell the next event to nobody, and we for libzmq.
        self._socket.disable_monitor()
        self._readable.close()

    def _parse(self, frames: list[bytes]) -> None:
        told = parse_monitor_message(frames)
        self._take(int(told["event"]), int(told["value"]))
