"""Runs inside SGLang's scheduler process, one for each GPU of the engine: tells which weights it holds.

SGLang fuses projections (`qkv_proj`, `gate_up_proj`) and pads the vocabulary. What it holds is told under the
Hugging Face names, so that it can be compared with a manifest tensor by tensor.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from sglang.srt.managers import scheduler as sglang_scheduler
from sglang.srt.managers.io_struct import RpcReqInput, RpcReqOutput
from torch import Tensor, nn

from tetrad_rollout.engine.sglang.held_digests import digests_of
from tetrad_runtime.orphans import follow_parent

HELD: Final = "tetrad_held"

FUSED: Final[dict[str, tuple[str, ...]]] = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
}
"""SGLang's layer → the layers of the checkpoint that its rows are made of, in order."""


class TellingScheduler(sglang_scheduler.Scheduler):  # type: ignore[misc]  # sglang has no types
    """SGLang's scheduler, which also answers what it holds."""

    def handle_rpc_request(self, recv_req: RpcReqInput) -> RpcReqOutput:
        """Answer the calls of ours; leave the others to SGLang."""
        if recv_req.method != HELD:
            return super().handle_rpc_request(recv_req)
        parameters: dict[str, Any] = recv_req.parameters or {}
        try:
            answer = self._held(parameters["shapes"], parameters["algorithm"])
        except Exception as error:  # the scheduler must live on; whoever asked hears of it
            return RpcReqOutput(success=False, message=f"{type(error).__name__}: {error}")
        return RpcReqOutput(success=True, message=json.dumps(answer))

    def _held(self, shapes: dict[str, list[int]], algorithm: str) -> dict[str, str]:
        """Digest of each tensor that is asked for; one that is not held is left out."""
        model = self.tp_worker.model_runner.model
        tensors = {
            name: tensor[tuple(slice(extent) for extent in shapes[name])].contiguous()
            for name, tensor in checkpoint_tensors(model)
            if name in shapes
        }
        return digests_of(tensors, algorithm)


def run_scheduler(*arguments: Any, **keywords: Any) -> None:
    """SGLang's scheduler process with our scheduler; started by `spawn`."""
    # The service may be killed without a word; its GPU memory must be free then.
    follow_parent()
    sglang_scheduler.Scheduler = TellingScheduler
    sglang_scheduler.run_scheduler_process(*arguments, **keywords)


def checkpoint_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters under their names in a checkpoint, fused ones in their parts; views, not copies."""
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        path, _, kind = name.rpartition(".")
        owner, _, layer = path.rpartition(".")
        if layer not in FUSED:
            yield name, parameter.data
            continue
        sizes = modules[path].output_partition_sizes
        for part, rows in zip(FUSED[layer], parameter.data.split(list(sizes)), strict=True):
            yield f"{owner}.{part}.{kind}", rows
