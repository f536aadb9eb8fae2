"""The learner of `weight_sync_gpu.py`: one rank of the real trainer (FSDP2), its device copies, its publisher.

    python benchmarks/weight_sync_rank.py MODEL BROADCASTER_ENDPOINT memory|nccl    # with torchrun's variables

Orders: `publish` a version, `change` every tensor by 2 %, `score` a prompt, `copy` to find the device's bandwidth.
On a machine without a GPU weights travel through host memory.
"""

import asyncio
import random
import statistics
import sys
import time
from typing import Final

import torch
from order_lines import Order, orders, say

from tetrad_learner.publishing import Publisher
from tetrad_learner.rank.device_copies import DeviceCopies
from tetrad_learner.rank.exports import Exports
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import ComputeDtype, OptimizerOptions, TrainerOptions
from tetrad_learner.trainer.policy import ForwardInputs, Policy, named_weights
from tetrad_runtime.garbage import settle
from tetrad_telemetry.logs import configure
from tetrad_transport import ZmqTransport
from tetrad_transport.membership import new_incarnation
from tetrad_weights import Bytes
from tetrad_wire.ids import PolicyVersion

RUN: Final = "bench-weight-sync"
TIMEOUT_S: Final = 60.0
CHANGE: Final = 1.02
"""Large enough for bfloat16: one part in a thousand would be rounded away."""
NUM_COPIES: Final = 10
IS_ON_GPU: Final = torch.cuda.is_available()


class Rank:
    """The parts of a rank that publishing takes."""

    def __init__(self, model: str, broadcaster: str, over: str, transport: ZmqTransport) -> None:
        self._trainer = Trainer.create(
            TrainerOptions(
                model_path=model,
                device="cuda" if IS_ON_GPU else "cpu",
                compute_dtype=ComputeDtype.BFLOAT16 if IS_ON_GPU else ComputeDtype.FLOAT32,
                optimizer=OptimizerOptions(lr=1e-6),
            )
        )
        dtype = "bfloat16" if IS_ON_GPU else "float32"
        self._exports = Exports(self._trainer, dtype=dtype)
        self.layout = self._exports.layout
        incarnation = new_incarnation()
        is_relayed = over == "nccl"
        self._copies = (
            DeviceCopies(
                self._trainer.ranks,
                run=RUN,
                incarnation=incarnation,
                has_neighbours=not is_relayed,
                is_relayed=is_relayed,
            )
            if IS_ON_GPU
            else None
        )
        connection = transport.connect(broadcaster, name="trainer-0")
        self._publisher = Publisher(connection, run=RUN, incarnation=incarnation, timeout_s=TIMEOUT_S)

    async def publish(self, version: PolicyVersion) -> Order:
        """As the shell of a rank does; seconds of each part, and the monotonic clock at both ends."""
        began = time.monotonic()
        copy = None if self._copies is None else self._copies.make(self._exports)
        fill = self._fill if copy is None else None
        done = await self._publisher.publish(version=version, step=version, layout=self.layout, fill=fill, copy=copy)
        return {
            "began": began,
            "ended": time.monotonic(),
            "gather": done.fill_s,
            "digest": done.digest_s,
            "share": done.accept_s,
            "num_bytes": done.num_bytes,
        }

    @torch.no_grad()
    def change(self, seed: int) -> Order:
        """Every tensor up or down by 2 %, so that over many updates their sizes stay what they are."""
        draw = random.Random(seed)
        for _name, tensor in named_weights(self._policy):
            tensor.mul_(draw.choice((CHANGE, 1 / CHANGE)))
        return {}

    @torch.no_grad()
    def score(self, ids: list[int]) -> Order:
        """Log-probs of a prompt's tokens but the first."""
        device = self._trainer.ranks.device
        ids_T = torch.tensor(ids, device=device)
        source_T = torch.arange(len(ids) - 1, device=device)
        inputs = ForwardInputs(input_ids=ids_T[None], position_ids=None, source_T=source_T, target_T=ids_T[1:])
        logprobs_T, _entropies_T = self._policy(inputs)
        return {"logprobs": logprobs_T.float().tolist()}

    def copy(self) -> Order:
        """Median seconds of one copy of a version's bytes on the device."""
        device = self._trainer.ranks.device
        source, target = (torch.ones(self.layout.num_bytes, dtype=torch.uint8, device=device) for _ in range(2))
        seconds = []
        for _ in range(NUM_COPIES + 1):
            _wait()
            started = time.perf_counter()
            target.copy_(source)
            _wait()
            seconds.append(time.perf_counter() - started)
        return {"copy": statistics.median(seconds[1:])}

    def close(self) -> None:
        """Give everything back."""
        self._publisher.close()
        if self._copies is not None:
            self._copies.close()
        self._trainer.close()

    @property
    def _policy(self) -> Policy:
        return self._trainer._policy

    def _fill(self, buffer: Bytes) -> None:
        self._trainer.export_into(buffer, self.layout.tensors)


async def main() -> None:
    """Obey until there are no more orders."""
    configure(service="benchmark", level="error", stream=sys.stderr)
    transport = ZmqTransport(allow_clear_tcp=True)
    rank = Rank(*sys.argv[1:], transport)
    settle()
    say({"ready": True})
    async for order in orders():
        match order["order"]:
            case "publish":
                say(await rank.publish(PolicyVersion(order["version"])))
            case "change":
                say(rank.change(order["seed"]))
            case "score":
                say(rank.score(order["ids"]))
            case "copy":
                say(rank.copy())
    rank.close()
    transport.close()


def _wait() -> None:
    if IS_ON_GPU:
        torch.cuda.synchronize()


if __name__ == "__main__":
    asyncio.run(main())
