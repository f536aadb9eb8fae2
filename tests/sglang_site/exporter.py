"""A learner's rank in miniature: weights in GPU memory, offered by handle. One JSON line in, one out.

{"seed": 1, "fault": "flip" | "skip" | "half" | "tear" | ""} → {"manifest": …, "handle": …}; the digests are taken
before the fault. `half` has written half of the bytes when it offers them, and is still writing. `tear` waits for one
line more, then writes over half of what it offered, whoever reads it, and dies of that.
"""

import os
import secrets
import signal
import sys

import msgspec
import torch

from sglang_site.builders import layout, weights
from tetrad_devices.digest import SumTable
from tetrad_devices.ring import DeviceRing
from tetrad_weights.digest import DigestAlgorithm
from tetrad_weights.manifest import from_digests
from tetrad_wire.messages.weights import DeviceHandle, Manifest


class Export(msgspec.Struct):
    seed: int
    fault: str = ""


class Offer(msgspec.Struct):
    manifest: Manifest
    handle: DeviceHandle


def main() -> None:
    ring = DeviceRing(device=torch.device("cuda", 0), run="exporter", incarnation=secrets.token_hex(4))
    pinned = ""
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Export)
        flat, (_manifest, source) = layout(order.seed), weights(order.seed)
        segment = ring.take(flat.num_bytes, pinned={pinned})
        segment.buffer.copy_(torch.from_numpy(source))
        parts = [segment.buffer[spec.offset : spec.offset + spec.num_bytes] for spec in flat.tensors]
        digests = SumTable(parts).digests()
        if order.fault == "flip":
            parts[3][5] ^= 4
        if order.fault == "skip":
            parts[-1].zero_()
        if order.fault == "half":
            second_half(segment.buffer).zero_()
            torch.cuda.synchronize()
        else:
            segment.end_writing()
        pinned = segment.name
        offer = Offer(from_digests(flat, digests, algorithm=DigestAlgorithm.SUM64), segment.handle())
        sys.stdout.buffer.write(msgspec.json.encode(offer) + b"\n")
        sys.stdout.buffer.flush()
        if order.fault == "tear":
            sys.stdin.readline()
            second_half(segment.buffer).zero_()
            torch.cuda.synchronize()
            os.kill(os.getpid(), signal.SIGKILL)


def second_half(buffer: torch.Tensor) -> torch.Tensor:
    return buffer[buffer.numel() // 2 :]


if __name__ == "__main__":
    main()
