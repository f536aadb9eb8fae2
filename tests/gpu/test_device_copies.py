"""Two ranks, each with a GPU, offer a version; an engine over both GPUs takes each copy on the GPU where it lies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
import torch
from numerics.trainer_builders import a_model

pytestmark = [
    pytest.mark.skipif(
        torch.cuda.device_count() < 2, reason=f"needs 2 GPUs; torch.cuda.device_count() is {torch.cuda.device_count()}"
    ),
    pytest.mark.skipif(find_spec("sglang") is None, reason="needs SGLang, whose engine reads the copies"),
]

DEADLINE_S = 120


@pytest.fixture(scope="module")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from gpu.copies_program import Offer

    out = tmp_path_factory.mktemp("copies")
    program = Path(__file__).with_name("copies_program.py")
    tests = str(program.parent.parent)
    log = out / "ranks.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
                *(str(program), str(a_model(out / "tied", kind="tied")), str(out)),
            ],
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")])),
                "OMP_NUM_THREADS": "1",
                "GLOO_SOCKET_IFNAME": "lo",
            },
            stdout=file,
            stderr=file,
            start_new_session=True,
        ) as launcher,
    ):
        try:
            deadline = time.monotonic() + DEADLINE_S
            while not (out / "offer.json").exists():
                assert launcher.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < deadline, log.read_text()[-4000:]
                time.sleep(0.05)
            yield msgspec.json.decode((out / "offer.json").read_bytes(), type=Offer)
        finally:
            (out / "done").touch()
            try:
                launcher.wait(30)
            except subprocess.TimeoutExpired:
                launcher.send_signal(signal.SIGTERM)


def stages(num_bytes: int, size: int) -> list[torch.Tensor]:
    return [torch.zeros(num_bytes, dtype=torch.uint8, device=f"cuda:{index}") for index in range(size)]


def test_each_rank_offers_memory_of_its_own_gpu(offer) -> None:
    from tetrad_devices.facts import uuid_of

    assert [handle.gpu for handle in offer.handles] == [uuid_of(0), uuid_of(1)]


@pytest.mark.parametrize("num_handles", [2, 1])
def test_both_parts_of_an_engine_hold_the_whole_version_on_their_gpus(offer, num_handles: int) -> None:
    from tetrad_rollout.engine.sglang.device_copier import DeviceCopier

    copier, sides = DeviceCopier(), stages(offer.manifest.num_bytes, 2)

    # Every digest is checked where the bytes have arrived; with one handle the second GPU reads from afar.
    copier.take(offer.handles[:num_handles], offer.manifest, sides)

    assert torch.equal(sides[0].cpu(), sides[1].cpu())
    assert sides[0].any()
    copier.close()


def test_a_byte_that_does_not_arrive_on_the_second_gpu_is_named(offer) -> None:
    from tetrad_rollout.engine.errors import DigestMismatchError
    from tetrad_rollout.engine.sglang.device_copier import DeviceCopier

    copier = DeviceCopier()
    tensors = [
        msgspec.structs.replace(spec, digest="0" * 32) if number == 1 else spec
        for number, spec in enumerate(offer.manifest.tensors)
    ]
    wrong = msgspec.structs.replace(offer.manifest, tensors=tuple(tensors))

    with pytest.raises(DigestMismatchError, match=tensors[1].name):
        copier.take(offer.handles, wrong, stages(wrong.num_bytes, 2))
    copier.close()
