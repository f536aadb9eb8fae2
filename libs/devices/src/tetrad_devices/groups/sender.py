"""Sends versions to one engine: out of the broadcaster's segment, or out of GPU memory that it was handed.

    python -m tetrad_devices.groups.sender BACKEND [GPU]

One for each engine, so that one that hangs with its receiver is killed and costs no other anything.
"""

import os
import sys
import time
import warnings

import torch

from tetrad_devices.facts import index_of
from tetrad_devices.groups.group import Group, device_of, side_of
from tetrad_devices.groups.orders import open_lines
from tetrad_devices.maps import DeviceMaps
from tetrad_weights.attachments import Maps
from tetrad_weights.group_orders import Answer, Form, Listen, Listening, Moved, Order, Phase, Ready, Send
from tetrad_weights.group_sides import SENDER


def main(backend: str, gpu: str = "") -> None:
    """Obey until there are no more orders."""
    lines = open_lines()
    device = device_of(backend, gpu, index_of)
    group = Group(lines, backend=backend, rank=SENDER, device=device)
    segments, memories = Maps(), DeviceMaps()

    def do(order: Order) -> Answer | None:
        match order:
            case Listen():
                return Listening(port=group.listen(timeout_s=order.timeout_s))
            case Form():
                return group.form(order)
            case Send():
                return send(order)
            case _:
                raise TypeError(f"a sender does not {type(order).__name__}")

    def send(order: Send) -> Moved:
        began = time.monotonic()
        lines.at(Phase.MEMORY)
        if order.device is not None:
            with memories.attach(order.device) as flat:
                group.move(flat)
        else:
            assert order.segment is not None, "a version lies somewhere"
            with segments.attach(order.segment) as attachment, warnings.catch_warnings():
                # torch warns of memory that it must not write; it only reads.
                warnings.simplefilter("ignore", UserWarning)
                group.move(torch.from_numpy(attachment.payload))
        return Moved(seconds=time.monotonic() - began)

    lines.say(Ready(side=side_of(backend, dict(os.environ), device)))
    lines.obey(do)


if __name__ == "__main__":
    main(*sys.argv[1:])
