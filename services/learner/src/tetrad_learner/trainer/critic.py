"""The critic: the body of a Hugging Face model and one output that says what reward is still to come.

Owns the value head, how both are loaded and sharded, and the critic's names in a checkpoint. Must not know of
advantages, losses or optimizers.
"""

# T trained tokens · H hidden size

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from tetrad_learner.trainer.errors import UnsupportedModelError
from tetrad_learner.trainer.model import (
    MASTER_DTYPE,
    build,
    decoder_layers,
    hand_out,
    model_config,
    resolve_folder,
    shard,
    shard_model,
)
from tetrad_learner.trainer.options import CriticOptions, TrainerOptions
from tetrad_learner.trainer.policy import ForwardInputs, hidden_states
from tetrad_learner.trainer.probe import check_model
from tetrad_learner.trainer.ranks import Ranks


class Critic(nn.Module):
    """Answers with the value of the state before each trained token, never with logits."""

    def __init__(self, body: PreTrainedModel, *, head_name: str) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(body.config.get_text_config().hidden_size, 1, bias=False, dtype=MASTER_DTYPE)
        self._head_name = head_name

    def forward(self, inputs: ForwardInputs) -> Tensor:
        """Return float32[T]: the value at the position that predicts each trained token."""
        values_T1: Tensor = self.head(hidden_states(self.body, inputs).float())
        # A view would slip past the hook that starts the backward pass.
        return values_T1[:, 0].clone()

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the live weights: `model.NAME` of the body, and the head by its configured name."""
        for name, tensor in self.body.state_dict(keep_vars=True).items():
            yield f"model.{name}", tensor
        yield f"{self._head_name}.weight", self.head.weight

    def named_trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield those of them that an optimizer steps."""
        for name, tensor in self.named_tensors():
            if isinstance(tensor, nn.Parameter):
                yield name, tensor


def load_critic(critic: CriticOptions, *, options: TrainerOptions, ranks: Ranks) -> Critic:
    """Load, shard per decoder layer, and hand out the weights; collective.

    The head comes from the folder where that holds `HEAD.weight`; else it is drawn as in SkyRL, N(0, 1 / (H + 1)).
    """
    folder = resolve_folder(critic.path, ranks)
    config = model_config(folder)
    causal_lm = build(config, options, is_trained=True)
    layers = decoder_layers(causal_lm)
    model = Critic(cast("PreTrainedModel", causal_lm.base_model), head_name=critic.head_name)
    # One column decides: it is computed in float32 whatever the body is computed in.
    shard((model.head,), precision=MixedPrecisionPolicy(), sharding=critic.sharding, ranks=ranks)
    shard_model(model, layers, sharding=critic.sharding, options=options, ranks=ranks)
    source = _read(folder, config, critic=critic, options=options) if ranks.is_first else {}
    hand_out(model.named_tensors(), source, ranks)
    return model


def _read(
    folder: Path, config: PreTrainedConfig, *, critic: CriticOptions, options: TrainerOptions
) -> dict[str, Tensor]:
    """Read or draw all weights (rank 0)."""
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' own
    whole: Any = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=MASTER_DTYPE, attn_implementation="sdpa"
    )
    whole.requires_grad_(False).eval()
    check_model(whole, layout=options.row_layout)
    body = {f"model.{name}": tensor for name, tensor in whole.base_model.state_dict().items()}
    hidden = config.get_text_config().hidden_size
    head = _stored_head(folder, critic.head_name, hidden=hidden)
    return body | {f"{critic.head_name}.weight": _drawn_head(hidden, options.seed) if head is None else head}


def _drawn_head(hidden: int, seed: int) -> Tensor:
    # A generator of its own: the ranks' random state must not depend on who draws.
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, hidden, generator=generator, dtype=MASTER_DTYPE) / (hidden + 1)


def _stored_head(folder: Path, name: str, *, hidden: int) -> Tensor | None:
    """The head's weight, where a file of the folder holds it; raises UnsupportedModelError for one of another shape."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if f"{name}.weight" in file.keys():  # noqa: SIM118 - no mapping
                weight = cast("Tensor", file.get_tensor(f"{name}.weight"))
                if tuple(weight.shape) != (1, hidden):
                    raise UnsupportedModelError(
                        f"{name}.weight in {path} is {tuple(weight.shape)}; a value head is (1, {hidden})"
                    )
                return weight.to(MASTER_DTYPE)
    return None
