"""What is computed in which precision, and that compiled code computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, a_model, last_gradient, options

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import AlgorithmOptions, ComputeDtype, RowLayout

pytestmark = pytest.mark.usefixtures("lone_rank")

ENTROPY = AlgorithmOptions(entropy_loss_coef=0.1, temperature=0.7)


@pytest.mark.parametrize("is_fp32", [False, True])
def test_the_head_and_what_it_is_fed_are_in_float32_on_request(model: Path, *, is_fp32: bool) -> None:
    trainer = Trainer.create(options(model, compute_dtype=ComputeDtype.BFLOAT16, fp32_lm_head=is_fp32))
    causal_lm = trainer._policy.causal_lm
    seen: dict[str, set[torch.dtype]] = {"layer": set(), "norm": set(), "head": set()}
    body = causal_lm.base_model
    body.layers[-1].register_forward_hook(lambda _module, _inputs, output: seen["layer"].add(output.dtype))

    def at_the_end(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        seen["norm"].add(output.dtype)
        seen["head"].add(causal_lm.get_output_embeddings().weight.dtype)

    body.norm.register_forward_hook(at_the_end)

    trainer.execute(AStep().share())

    expected = torch.float32 if is_fp32 else torch.bfloat16
    assert seen == {"layer": {torch.bfloat16}, "norm": {expected}, "head": {expected}}


@pytest.mark.long
@pytest.mark.parametrize("is_recomputed", [False, True])
@pytest.mark.parametrize("layout", RowLayout)
def test_compiled_layers_and_head_compute_the_same(tmp_path: Path, layout: RowLayout, *, is_recomputed: bool) -> None:
    small = a_model(tmp_path, layers=1)
    settings = {"algorithm": ENTROPY, "row_layout": layout, "micro_train_batch_size": 5}
    compiling = {"use_torch_compile": True, "gradient_checkpointing": is_recomputed}
    plain, compiled = (Trainer.create(options(small, **settings, **changes)) for changes in ({}, compiling))

    expected, found = (trainer.execute(AStep().share()).metrics for trainer in (plain, compiled))

    np.testing.assert_allclose(last_gradient(compiled), last_gradient(plain), rtol=0, atol=1e-6)
    for name in ("loss", "entropy", "grad_norm"):
        assert found[name] == pytest.approx(expected[name], abs=1e-5)


@pytest.mark.parametrize("is_compiled", [False, pytest.param(True, marks=pytest.mark.long)], ids=["eager", "compiled"])
def test_recomputed_layers_keep_only_what_they_are_given(tmp_path: Path, *, is_compiled: bool) -> None:
    small = a_model(tmp_path)

    every, few = (
        kept_elements(small, use_torch_compile=is_compiled, gradient_checkpointing=on) for on in (False, True)
    )

    assert few < every / 2


def kept_elements(model: Path, **changes: bool) -> int:
    """Elements of all tensors that the first layer keeps for its backward pass, but for its weights."""
    trainer = Trainer.create(options(model, **changes))
    layer = trainer._policy.causal_lm.base_model.layers[0]
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.data_ptr()] = tensor
        return tensor

    forward = layer.forward

    def observed(*inputs: object, **named: object) -> object:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            return forward(*inputs, **named)

    layer.forward = observed
    trainer.execute(AStep().share())
    return sum(tensor.numel() for tensor in kept.values())
