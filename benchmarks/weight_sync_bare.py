"""Bare pyzmq in blocking loops, to compare weights in chunks with: frames of 4 MiB over TCP, lent by the sender.

The receiver copies each frame to its place, as weights must be; nobody digests, and nobody asks.
"""

import threading
import time
from typing import Final

import numpy as np
import zmq

from tetrad_weights import Bytes

CHUNK_BYTES: Final = 4 << 20
DEADLINE_MS: Final = 60_000


class BareSender:
    """Sends all of `source` to whoever says anything, from a thread of its own."""

    def __init__(self, source: Bytes) -> None:
        self._source = source
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self._thread = threading.Thread(target=self._serve, name="bare-sender", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread: its context goes."""
        self._context.destroy(linger=0)
        self._thread.join(DEADLINE_MS / 1000)

    def _serve(self) -> None:
        try:
            while True:
                peer, _question = self._socket.recv_multipart()
                for start in range(0, len(self._source), CHUNK_BYTES):
                    self._socket.send(peer, zmq.SNDMORE)
                    self._socket.send(self._source[start : start + CHUNK_BYTES].data, copy=False)
        except zmq.ZMQError:
            # The context is gone: the benchmark is over.
            return


def receive_bare(endpoint: str, buffer: Bytes) -> float:
    """Seconds from the question to the last byte in `buffer`."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.RCVTIMEO, DEADLINE_MS)
    socket.connect(endpoint)
    started = time.perf_counter()
    socket.send(b"all")
    for start in range(0, len(buffer), CHUNK_BYTES):
        frame = socket.recv(copy=False)
        np.copyto(buffer[start : start + CHUNK_BYTES], np.frombuffer(frame.buffer, dtype=np.uint8))
    seconds = time.perf_counter() - started
    context.destroy(linger=0)
    return seconds
