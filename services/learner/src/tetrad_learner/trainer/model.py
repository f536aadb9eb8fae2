"""Loading: from a Hugging Face folder to a policy whose float32 master weights are spread over the ranks.

Only rank 0 reads the weights, and passes each tensor on in shards, so that a host never holds one copy per rank.
Must not know of batches, losses or optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.utils.logging import disable_progress_bar

from tetrad_learner.trainer.adapters import Adapters, add_adapters
from tetrad_learner.trainer.attention import PACKED_ATTENTION, register_packed_attention
from tetrad_learner.trainer.errors import UnsupportedModelError
from tetrad_learner.trainer.options import ComputeDtype, RowLayout, ShardingOptions, TrainerOptions, expand
from tetrad_learner.trainer.policy import Policy, named_adapters, named_weights
from tetrad_learner.trainer.probe import check_model
from tetrad_learner.trainer.ranks import Ranks

MASTER_DTYPE: Final = torch.float32


def resolve_folder(name: str, ranks: Ranks) -> Path:
    """Return the model's local folder; a name that is no folder is fetched from the Hub, by rank 0 first."""
    folder = expand(name)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    if ranks.is_first:
        snapshot_download(name, allow_patterns=patterns)
    ranks.barrier()
    return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))


def load_policy(folder: Path, *, options: TrainerOptions, ranks: Ranks, is_trained: bool) -> Policy:
    """Load, shard per decoder layer, and hand out the weights; collective.

    Raises UnsupportedModelError where the log-probabilities of this path differ from the model's own.
    """
    config = model_config(folder)
    causal_lm = build(config, options, is_trained=is_trained)
    causal_lm.tie_weights()  # from_config leaves it out when it does not initialise
    adapters = _adapters_of(causal_lm, options) if is_trained else None
    policy = Policy(
        causal_lm,
        temperature=options.algorithm.temperature,
        is_compiled=options.use_torch_compile,
        adapters=adapters,
    )
    policy.requires_grad_(is_trained and adapters is None).train(is_trained)
    for _name, tensor in named_adapters(policy):
        tensor.requires_grad_(is_trained)
    sharding = options.sharding if is_trained else options.reference_sharding
    shard_model(policy, decoder_layers(causal_lm), sharding=sharding, options=options, ranks=ranks)
    source = _read_weights(folder, config, options, has_adapters=adapters is not None) if ranks.is_first else {}
    hand_out(chain(named_weights(policy), named_adapters(policy)), source, ranks)
    return policy


def build(config: PreTrainedConfig, options: TrainerOptions, *, is_trained: bool) -> PreTrainedModel:
    """Build the modules, with what a configuration asks of them; the weights' memory is left untouched.

    Every rank builds them for real (buffers such as rotary frequencies are computed, not loaded), but the pages of a
    tensor come to life only when its shard is written.
    """
    with no_init_weights():
        try:
            causal_lm: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]  # its own
                config, dtype=MASTER_DTYPE, attn_implementation=attention_of(options)
            )
        except ValueError as error:  # transformers says so where a model's attention is not to be had in this form
            raise UnsupportedModelError(f"a model of type {config.model_type} cannot be trained: {error}") from error
    for layer in decoder_layers(causal_lm):
        # Not layer.compile(), and no module around the layer: what fully_shard hooks onto it stays outside of both.
        if options.gradient_checkpointing and is_trained:
            layer.forward = recomputed(layer.forward)
        if options.use_torch_compile:
            layer.forward = torch.compile(layer.forward)
    return causal_lm


def recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Keep only the arguments of `forward` for the backward pass, which computes the rest again.

    Compiled, it is the compiler that sees to it: compiled code that is itself computed again was seen to save other
    tensors than in the forward pass.
    """

    @wraps(forward)
    def saving_inputs(*inputs: Any, **named: Any) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False, **named)

    return saving_inputs


def attention_of(options: TrainerOptions) -> str:
    """Return the name of the attention that suits the rows."""
    if options.row_layout is RowLayout.PADDED:
        return "sdpa"
    register_packed_attention()
    return PACKED_ATTENTION


def shard_model(
    model: nn.Module,
    layers: Iterable[nn.Module],
    *,
    sharding: ShardingOptions,
    options: TrainerOptions,
    ranks: Ranks,
) -> None:
    """Shard each decoder layer, and the rest of the model around them."""
    precision = precision_of(options.compute_dtype)
    shard(layers, precision=precision, sharding=sharding, ranks=ranks)
    # The weights of embedding and head are the root's own; layers take their inputs in their own precision.
    around = MixedPrecisionPolicy() if options.fp32_lm_head else precision
    shard((model,), precision=around, sharding=sharding, ranks=ranks, is_root=True)


def shard(
    modules: Iterable[nn.Module],
    *,
    precision: MixedPrecisionPolicy,
    sharding: ShardingOptions,
    ranks: Ranks,
    is_root: bool = False,
) -> None:
    """Apply fully_shard to each module, inner ones first; gradients are summed over ranks, not averaged."""
    # On a CPU the shards are in the host's memory already.
    is_offloaded = sharding.cpu_offload and ranks.device.type != "cpu"
    for module in modules:
        fully_shard(
            module,
            mesh=ranks.mesh,
            mp_policy=precision,
            offload_policy=CPUOffloadPolicy() if is_offloaded else OffloadPolicy(),
            # The root's backward pass follows its forward pass at once.
            reshard_after_forward=sharding.reshard_after_forward and not is_root,
        )
        # Denominators are global already, so the sum is the gradient. gloo has no pre-multiplied sum (what a divide
        # factor alone would use): ask for a plain one.
        sharded = cast("FSDPModule", module)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


def free_gathered(model: nn.Module) -> None:
    """Let go of weights that a pass has left gathered: those around the layers, after one without a backward pass."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def decoder_layers(causal_lm: PreTrainedModel) -> list[nn.Module]:
    """Return the modules that the model's author says must stay whole: its decoder layers."""
    names = set(causal_lm._no_split_modules or ())
    layers = [module for module in causal_lm.modules() if type(module).__name__ in names]
    if not layers:
        raise UnsupportedModelError(f"{type(causal_lm).__name__} does not say which modules are its decoder layers")
    return layers


def model_config(folder: Path) -> PreTrainedConfig:
    """Return the model's configuration, without any dropout."""
    config: PreTrainedConfig = AutoConfig.from_pretrained(folder)
    # The ratio of the first optimizer step must be 1: the same tokens twice must give the same log-probabilities.
    for name in [name for name in vars(config) if name.endswith(("dropout", "_pdrop"))]:
        setattr(config, name, 0.0)
    return config


def precision_of(dtype: ComputeDtype) -> MixedPrecisionPolicy:
    """Return in what weights are gathered and gradients reduced."""
    if dtype is ComputeDtype.FLOAT32:
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def _adapters_of(causal_lm: PreTrainedModel, options: TrainerOptions) -> Adapters | None:
    if options.lora is None:
        return None
    return add_adapters(causal_lm, options.lora, seed=options.seed, base=options.model_path)


def _read_weights(
    folder: Path, config: PreTrainedConfig, options: TrainerOptions, *, has_adapters: bool
) -> dict[str, Tensor]:
    """Read all weights (rank 0), after proving on them that this package computes what the model computes.

    Adapters are drawn here, for all ranks.
    """
    # A bar on stderr would end up in the service's log.
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' own
    whole: Any = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=MASTER_DTYPE, attn_implementation="sdpa"
    )
    whole.requires_grad_(False).eval()
    check_model(whole, layout=options.row_layout)
    policy = Policy(whole, temperature=1.0, adapters=_adapters_of(whole, options) if has_adapters else None)
    return dict(chain(named_weights(policy), named_adapters(policy)))


@torch.no_grad()
def hand_out(targets: Iterable[tuple[str, Tensor]], source: dict[str, Tensor], ranks: Ranks) -> None:
    """Fill each rank's shards from rank 0's whole tensors, one tensor at a time; collective."""
    for name, target in targets:
        whole = source.pop(name) if ranks.is_first else torch.empty(target.shape, dtype=target.dtype)
        whole = whole.to(ranks.device)
        if isinstance(target, DTensor):
            ours = distribute_tensor(whole, ranks.mesh, target.placements, src_data_rank=0)
            # Local to local: an offloaded shard is in another memory than its mesh.
            target.to_local().copy_(ours.to_local())
        else:  # a buffer that the folder holds: every rank has it whole
            dist.broadcast(whole, src=0)
            target.copy_(whole)
