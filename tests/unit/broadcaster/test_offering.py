"""Which transport is offered to whom."""

import pytest

from tetrad_broadcaster.offering import choose
from tetrad_broadcaster.shelf import Held
from tetrad_testing.builders import a_manifest, a_pull, a_segment
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import WeightTransport

CUDA_IPC, NCCL, SHARED, SOCKET = (
    WeightTransport.CUDA_IPC,
    WeightTransport.NCCL,
    WeightTransport.SHARED_MEMORY,
    WeightTransport.SOCKET,
)
ALL = (CUDA_IPC, NCCL, SHARED, SOCKET)


def a_held(*, on_host: bool = True, relay_gpu: str = "") -> Held:
    return Held(
        version=PolicyVersion(1),
        step=1,
        manifest=a_manifest(),
        segment=a_segment() if on_host else None,
        relay_gpu=relay_gpu,
    )


@pytest.mark.parametrize(
    ("held", "gpu", "transports", "chosen"),
    [
        (a_held(relay_gpu="GPU-0"), "GPU-1", ALL, NCCL),
        (a_held(), "GPU-1", ALL, SHARED),
        (a_held(), "", (SHARED, SOCKET), SHARED),
        (a_held(), "", (NCCL,), NCCL),
        (a_held(on_host=False, relay_gpu="GPU-0"), "GPU-1", (SHARED, SOCKET), None),
        (a_held(on_host=False, relay_gpu="GPU-0"), "", (NCCL,), None),
    ],
)
def test_an_engine_is_offered_the_first_of_its_ways_by_which_the_bytes_can_come(held, gpu, transports, chosen):
    assert choose(held, a_pull(gpu=gpu, transports=transports)) is chosen
