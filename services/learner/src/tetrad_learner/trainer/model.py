"""Loading: from a Hugging Face folder to a policy whose float32 master weights are spread over the ranks.

Only rank 0 reads the weights, and passes each tensor on in shards, so that a host never holds one copy per rank.
Must not know of batches, losses or optimizers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.utils.logging import disable_progress_bar

from tetrad_learner.trainer.errors import UnsupportedModelError
from tetrad_learner.trainer.options import ComputeDtype, TrainerOptions, expand
from tetrad_learner.trainer.policy import Policy, named_weights
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
    # Every rank builds the modules for real (buffers such as rotary frequencies are computed, not loaded), but leaves
    # the weights' memory untouched: the pages of a tensor come to life only when its shard is written.
    with no_init_weights():
        causal_lm = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]  # transformers' own
            config, dtype=MASTER_DTYPE, attn_implementation=options.attn_implementation
        )
    causal_lm.tie_weights()  # from_config leaves it out when it does not initialise
    if options.gradient_checkpointing and is_trained:
        causal_lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    policy = Policy(causal_lm, temperature=options.algorithm.temperature)
    policy.requires_grad_(is_trained).train(is_trained)
    shard((*decoder_layers(policy.causal_lm), policy), precision=precision_of(options.compute_dtype), ranks=ranks)
    source = _read_weights(folder, config, options) if ranks.is_first else {}
    hand_out(named_weights(policy), source, ranks)
    return policy


def shard(modules: Iterable[nn.Module], *, precision: MixedPrecisionPolicy, ranks: Ranks) -> None:
    """Apply fully_shard to each module, inner ones first; gradients are summed over ranks, not averaged."""
    for module in modules:
        fully_shard(module, mesh=ranks.mesh, mp_policy=precision)
        # Denominators are global already, so the sum is the gradient. gloo has no pre-multiplied sum (what a divide
        # factor alone would use): ask for a plain one.
        sharded = cast("FSDPModule", module)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


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


def _read_weights(folder: Path, config: PreTrainedConfig, options: TrainerOptions) -> dict[str, Tensor]:
    """Read all weights (rank 0), after proving on them that this package computes what the model computes."""
    # A bar on stderr would end up in the service's log.
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' own
    whole: Any = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=MASTER_DTYPE, attn_implementation="sdpa"
    )
    whole.requires_grad_(False).eval()
    check_model(whole, layout=options.row_layout)
    return dict(named_weights(Policy(whole, temperature=1.0)))


@torch.no_grad()
def hand_out(targets: Iterable[tuple[str, Tensor]], source: dict[str, Tensor], ranks: Ranks) -> None:
    """Fill each rank's shards from rank 0's whole tensors, one tensor at a time; collective."""
    for name, target in targets:
        whole = source.pop(name) if ranks.is_first else torch.empty(target.shape, dtype=target.dtype)
        whole = whole.to(ranks.device)
        if isinstance(target, DTensor):
            target.copy_(distribute_tensor(whole, ranks.mesh, target.placements, src_data_rank=0))
        else:  # a buffer that the folder holds: every rank has it whole
            dist.broadcast(whole, src=0)
            target.copy_(whole)
