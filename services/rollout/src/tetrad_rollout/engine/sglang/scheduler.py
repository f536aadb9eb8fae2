"""Runs inside SGLang's scheduler process, one for each GPU of the engine: tells which weights it holds.

SGLang fuses projections (`qkv_proj`, `gate_up_proj`), pads the vocabulary and splits layers over the engine's GPUs.
What it holds is told under the Hugging Face names, whole, so that it can be compared with a manifest tensor by tensor.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import torch
from sglang.srt.distributed import get_tp_group
from sglang.srt.managers import scheduler as sglang_scheduler
from sglang.srt.managers.io_struct import RpcReqInput, RpcReqOutput
from sglang.srt.utils.patch_torch import monkey_patch_torch_reductions
from torch import Tensor, nn

from tetrad_rollout.engine.sglang.flat_loader import FlatLoader
from tetrad_rollout.engine.sglang.held_digests import digests_of
from tetrad_rollout.engine.sglang.held_shards import TorchGroup, digests_over
from tetrad_rollout.engine.sglang.start_report import reporting
from tetrad_runtime.garbage import settle
from tetrad_runtime.orphans import follow_parent

HELD: Final = "tetrad_held"

FUSED: Final[dict[str, tuple[str, ...]]] = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
}
"""SGLang's layer → the layers of the checkpoint that its rows are made of, in order."""


WRAPPED: Final = ".base_layer"
Shapes = dict[str, list[int]]
"""By the names of a checkpoint."""


class TellingScheduler(sglang_scheduler.Scheduler):  # type: ignore[misc]  # sglang has no types
    """SGLang's scheduler, which also answers what it holds, and loads a version at once."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        with reporting():
            super().__init__(*arguments, **keywords)
        runner = self.tp_worker.model_runner
        self._parameters = HeldParameters(runner.model)
        theirs = runner._update_weights_from_flattened_bucket
        runner._update_weights_from_flattened_bucket = FlatLoader(runner.model, theirs, self._parameters.named)
        # For those who balance a load over many engines: written anew, under a lock, in each turn of an idle loop.
        self.load_snapshot_writer = None
        settle()

    def handle_rpc_request(self, recv_req: RpcReqInput) -> RpcReqOutput:
        """Answer the calls of ours; leave the others to SGLang."""
        if recv_req.method != HELD:
            return super().handle_rpc_request(recv_req)
        parameters: dict[str, Any] = recv_req.parameters or {}
        try:
            answer = self._held(**parameters)
        except Exception as error:  # the scheduler must live on; whoever asked hears of it
            return RpcReqOutput(success=False, message=f"{type(error).__name__}: {error}")
        return RpcReqOutput(success=True, message=json.dumps(answer))

    def _held(self, shapes: Shapes, algorithm: str, adapter: str | None) -> dict[str, str]:
        """Digest of each tensor that is asked for, of an adapter or of the model; one that is not held is left out.

        A tensor that is held and was not asked for is named, without a digest.
        """
        runner = self.tp_worker.model_runner
        held = (
            self._parameters.named().items()
            if adapter is None
            else adapter_tensors(runner.lora_manager, adapter, shapes)
        )
        tensors, others = {}, {}
        for name, tensor in held:
            if name in shapes:
                tensors[name] = tensor
            else:
                others[name] = ""
        return _digests(tensors, shapes, algorithm) | others


def _digests(tensors: dict[str, Tensor], shapes: Shapes, algorithm: str) -> dict[str, str]:
    """Of whole tensors. With several GPUs all of them take part: SGLang hands each request to every scheduler."""
    group = get_tp_group()
    if group.world_size > 1:
        return digests_over(TorchGroup(group.device_group), tensors, shapes, algorithm)
    return digests_of({name: _unpadded(tensor, shapes[name]) for name, tensor in tensors.items()}, algorithm)


def _unpadded(tensor: Tensor, shape: list[int]) -> Tensor:
    if list(tensor.shape) != shape:
        tensor = tensor[tuple(slice(extent) for extent in shape)]
    return tensor.contiguous()


def run_scheduler(*arguments: Any, **keywords: Any) -> None:
    """SGLang's scheduler process with our scheduler; started by `spawn`."""
    # The service may be killed without a word; its GPU memory must be free then.
    follow_parent()
    if torch.cuda.is_available():
        # SGLang does so before it reads weights, but not before it reads adapters.
        monkey_patch_torch_reductions()
    sglang_scheduler.Scheduler = TellingScheduler
    sglang_scheduler.run_scheduler_process(*arguments, **keywords)


class HeldParameters:
    """A model's parameters under their names in a checkpoint, looked up anew where one has moved."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        # What each layer holds now; to walk through the layers anew takes longer than a small model's copy.
        self._layers = [layer._parameters for layer in model.modules() if layer._parameters]
        self._places: tuple[int, ...] = ()
        self._named: dict[str, Tensor] = {}

    def named(self) -> dict[str, Tensor]:
        """Views, not copies."""
        places = tuple(one.data_ptr() for layer in self._layers for one in layer.values() if one is not None)
        if places != self._places:
            self._places, self._named = places, dict(checkpoint_tensors(self._model))
        return self._named


def checkpoint_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters under their names in a checkpoint, fused ones in their parts; views, not copies."""
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        path, _, kind = name.rpartition(".")
        # A layer that may have adapters is wrapped.
        owner, _, layer = path.removesuffix(WRAPPED).rpartition(".")
        if layer not in FUSED:
            yield f"{path.removesuffix(WRAPPED)}.{kind}", parameter.data
            continue
        wrapper = modules[path]
        layer_of_sglang: Any = getattr(wrapper, "base_layer", wrapper)
        sizes = layer_of_sglang.output_partition_sizes
        for part, rows in zip(FUSED[layer], torch.split(parameter.data, list(sizes)), strict=True):
            yield f"{owner}.{part}.{kind}", rows


def adapter_tensors(manager: Any, name: str, shapes: Shapes) -> Iterator[tuple[str, Tensor]]:
    """Yield an adapter's factors under peft's names, fused ones in their parts; nothing where it is not loaded."""
    for identity, reference in manager.lora_refs.items():
        if reference.lora_name == name:
            for layer in manager.loras[identity].layers:
                for held_name, factor in layer.weights.items():
                    yield from _parts_of(held_name, factor, shapes)


def _parts_of(name: str, factor: Tensor, shapes: Shapes) -> Iterator[tuple[str, Tensor]]:
    fused = next((layer for layer in FUSED if f".{layer}." in name), None)
    if fused is None:
        yield name, factor
        return
    parts = [name.replace(f".{fused}.", f".{part}.") for part in FUSED[fused]]
    # A part without an adapter, which SGLang fills with zeros, is as large as the last one.
    rows = [shapes.get(part, shapes.get(parts[-1], [0]))[0] for part in parts]
    if sum(rows) == factor.shape[0]:
        yield from zip(parts, torch.split(factor, rows), strict=True)
