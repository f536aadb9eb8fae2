"""What the ranks of test_device_copies.py do: publish in GPU memory, and keep it until they are told to end.

usage: copies_program.py MODEL OUT

Rank 0 writes OUT/offer.json, manifest and handles, and all wait until OUT/done is there.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
import torch
from gpu.rank_program import a_trainer

from tetrad_learner.rank.device_copies import DeviceCopies
from tetrad_learner.rank.exports import Exports
from tetrad_wire.messages.weights import DeviceHandle, Manifest

RANK = int(os.environ.get("RANK", "0"))
WAIT_S = 120


class Offer(msgspec.Struct):
    manifest: Manifest
    handles: tuple[DeviceHandle, ...]


def main() -> None:
    torch.set_num_threads(1)
    model, out = (Path(argument) for argument in sys.argv[1:3])
    trainer = a_trainer(model)
    copies = DeviceCopies(trainer.ranks, run="copies", incarnation=f"rank{RANK}")
    copy = copies.make(Exports(trainer, dtype="bfloat16"))
    if RANK == 0:
        written = out / ".offer.json"
        written.write_bytes(msgspec.json.encode(Offer(copy.manifest, copy.handles)))
        written.rename(out / "offer.json")
    deadline = time.monotonic() + WAIT_S
    while not (out / "done").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    copies.close()


if __name__ == "__main__":
    main()
