"""Adapters: algebra, identities before the first step, what is frozen, merged and written, and what chance may do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, a_model, exported, options
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import CheckpointError
from tetrad_learner.trainer.export import gathered_weights
from tetrad_learner.trainer.options import ComputeDtype, LoraOptions, OptimizerOptions, RowLayout, ShardingOptions
from tetrad_learner.trainer.policy import named_adapters, named_weights

pytestmark = pytest.mark.usefixtures("lone_rank")

KL = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1)
LORA = LoraOptions(rank=4)
FROZEN = OptimizerOptions(lr=0.0)


def a_trainer(model: Path, *, lora: LoraOptions = LORA, **changes: Any) -> Trainer:
    return Trainer.create(options(model, lora=lora, **changes))


def trained(model: Path, *, num_steps: int = 2, **changes: Any) -> Trainer:
    trainer = a_trainer(model, **changes)
    for seed in range(num_steps):
        trainer.execute(AStep(seed=seed, step=seed + 1).share())
    return trainer


def logprobs(model: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=ids).logits.log_softmax(-1)
    return found


def base_of(model: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)


SOME_IDS = torch.arange(24).reshape(2, 12)


# ── algebra ──


def test_gradients_of_the_factors_are_those_of_the_whole_weight_projected(tmp_path: Path) -> None:
    """W = W₀ + s·B·A gives dL/dB = s·G·Aᵀ and dL/dA = s·Bᵀ·G, with G = dL/dW of full training at the same W."""
    model = a_model(tmp_path / "base", kind="untied", layers=1)
    lora = LoraOptions(rank=3, alpha=6.0)
    adapted = a_trainer(model, lora=lora)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _name, factor in named_adapters(adapted._policy):
            local = factor.to_local()  # type: ignore[attr-defined]  # one rank holds all of it
            local.copy_(0.2 * torch.randn(local.shape, generator=rng))
    factors = {name: whole(factor).clone() for name, factor in named_adapters(adapted._policy)}
    adapted.save(tmp_path / "merged", step=0, lineage=0)
    full = Trainer.create(options(tmp_path / "merged"))

    batch = AStep().share()
    adapted.execute(batch)
    full.execute(batch)

    of_factors, of_weights = (first_moments(trainer) for trainer in (adapted, full))
    layers = [name.removesuffix(".lora_A.default.weight") for name in factors if ".lora_A." in name]
    assert len(layers) == 7
    for layer in layers:
        down, up = (factors[f"{layer}.{factor}.default.weight"] for factor in ("lora_A", "lora_B"))
        gradient = of_weights[f"{layer}.weight"]
        for factor, expected in (("lora_A", 2.0 * up.T @ gradient), ("lora_B", 2.0 * gradient @ down.T)):
            torch.testing.assert_close(
                of_factors[f"{layer}.{factor}.default.weight"], expected, rtol=1e-4, atol=1e-6, msg=f"{layer}.{factor}"
            )


def whole(tensor: Tensor) -> Tensor:
    full: Tensor = tensor.detach().full_tensor()  # type: ignore[attr-defined]
    return full


def first_moments(trainer: Trainer) -> dict[str, Tensor]:
    """The gradient of the only optimizer step (β₁ = 0)."""
    moments = trainer._optimizer.moments().items()
    return {name.removeprefix("exp_avg."): whole(moment) for name, moment in moments if name.startswith("exp_avg.")}


def test_a_toy_with_adapters_of_full_rank_descends_as_the_projected_gradient_says() -> None:
    """One linear layer, a quadratic loss: peft's layer against hand-written factors, in float64, over several steps."""
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(0)
    toy = nn.Sequential(nn.Linear(5, 4, bias=False, dtype=torch.float64))
    x, y = torch.randn(16, 5, dtype=torch.float64), torch.randn(16, 4, dtype=torch.float64)
    base = toy[0].weight.detach().clone()
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=8, target_modules=["0"]), toy)
    layer = toy[0]
    for factor in (layer.lora_A, layer.lora_B):
        factor["default"].to(torch.float64)
    down, up = (factor["default"].weight.detach().clone() for factor in (layer.lora_A, layer.lora_B))
    descent = torch.optim.SGD([p for p in toy.parameters() if p.requires_grad], lr=0.05)

    for _ in range(5):
        descent.zero_grad()
        (toy(x) - y).square().sum(-1).mean().backward()
        descent.step()
        gradient = 2 * (x @ (base + 2 * up @ down).T - y).T @ x / len(x)
        up, down = up - 0.05 * 2 * gradient @ down.T, down - 0.05 * 2 * up.T @ gradient

    torch.testing.assert_close(layer.lora_B["default"].weight, up, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.lora_A["default"].weight, down, rtol=0, atol=1e-12)
    assert torch.equal(layer.base_layer.weight, base)


# ── before the first step ──


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("init", ["kaiming", "gaussian"])
def test_before_the_first_update_ratios_are_one_and_the_reference_is_the_policy(
    model: Path, epochs: int, init: Any
) -> None:
    algorithm = dataclasses.replace(KL, eps_clip_low=0.0, eps_clip_high=0.0)
    lora = LoraOptions(rank=4, init_method=init)
    trainer = a_trainer(model, lora=lora, algorithm=algorithm, optimizer=FROZEN, micro_train_batch_size=5)

    metrics = trainer.execute(AStep(num_mini_batches=2, update_epochs=epochs).share()).metrics

    assert metrics["clip_ratio"] == 0.0
    assert metrics["ppo_kl"] == 0.0
    assert metrics["kl_loss"] == 0.0
    assert metrics["grad_norm"] > 0.0


def test_fresh_adapters_leave_the_exported_weights_as_they_were(model: Path) -> None:
    assert np.array_equal(exported(a_trainer(model)), exported(Trainer.create(options(model))))


def test_adapters_are_drawn_from_the_seed_alone(tied_model: Path) -> None:
    torch.manual_seed(5)
    first = a_trainer(tied_model)
    second = a_trainer(tied_model)
    other = a_trainer(tied_model, seed=43)

    draws = [
        [whole(t) for name, t in named_adapters(each._policy) if "lora_A" in name] for each in (first, second, other)
    ]

    assert all(torch.equal(a, b) for a, b in zip(draws[0], draws[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(draws[0], draws[2], strict=True))


def test_adding_adapters_leaves_the_random_state_of_the_process(tied_model: Path) -> None:
    states = []
    for lora in (None, LORA):
        Trainer.create(options(tied_model, lora=lora))
        states.append(torch.get_rng_state())

    assert torch.equal(*states)


# ── what is trained ──


def test_the_base_stays_bit_identical_and_has_no_gradient(model: Path) -> None:
    stored = load_file(model / "model.safetensors")

    trainer = trained(model, algorithm=KL)

    for name, tensor in named_weights(trainer._policy):
        assert torch.equal(whole(tensor), stored[name]), name
        assert not tensor.requires_grad
        assert tensor.grad is None
    assert all(".lora_" in name for name in trainer._optimizer.named_parameters)


def test_the_reference_is_the_base_and_no_second_model(tied_model: Path) -> None:
    """KL to the base below equals KL to a copy of the model that is loaded apart."""
    inside = trained(tied_model, algorithm=KL)
    apart = trained(tied_model, algorithm=KL, reference_path=f"{tied_model.parent}/./{tied_model.name}/../tied")

    assert inside._reference is not None
    assert apart._reference is not None
    assert inside._reference.model is inside._policy
    assert apart._reference.model is not apart._policy
    batch = AStep(seed=9, step=3).share()
    here, there = (trainer.execute(batch).metrics["kl_loss"] for trainer in (inside, apart))
    assert here > 0
    assert here == pytest.approx(there, rel=1e-6)


def test_after_the_reference_was_asked_adapters_are_trained_as_before(tied_model: Path) -> None:
    nothing = dataclasses.replace(KL, kl_loss_coef=0.0)

    with_reference, without = trained(tied_model, algorithm=nothing), trained(tied_model)

    assert np.array_equal(exported(with_reference), exported(without))


def test_recomputed_activations_change_nothing(tied_model: Path) -> None:
    plain, recomputed = (trained(tied_model, gradient_checkpointing=on) for on in (False, True))

    np.testing.assert_allclose(exported(plain), exported(recomputed), rtol=0, atol=1e-6)


def test_adapters_are_kept_in_float32_whatever_is_computed_in(tied_model: Path) -> None:
    trainer = a_trainer(tied_model, algorithm=KL, compute_dtype=ComputeDtype.BFLOAT16)

    found = [trainer.execute(AStep(seed=seed, step=seed + 1).share()).metrics for seed in range(2)]

    assert (found[0]["kl_loss"], found[0]["ppo_kl"]) == (0.0, 0.0)
    assert found[1]["kl_loss"] > 0.0
    assert {tensor.dtype for tensor in trainer._tensors().values()} == {torch.float32}
    stored = load_file(tied_model / "model.safetensors")
    assert all(torch.equal(whole(tensor), stored[name]) for name, tensor in named_weights(trainer._policy))


@pytest.mark.parametrize(
    "changes",
    [
        {"row_layout": RowLayout.PACKED},
        {"fp32_lm_head": True},
        {"sharding": ShardingOptions(reshard_after_forward=False)},
    ],
    ids=str,
)
def test_how_the_model_is_run_changes_nothing(tied_model: Path, changes: dict[str, Any]) -> None:
    plain, other = trained(tied_model, algorithm=KL), trained(tied_model, algorithm=KL, **changes)

    np.testing.assert_allclose(exported(other), exported(plain), rtol=0, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("is_recomputed", [False, True])
def test_compiled_layers_with_adapters_compute_the_same(tmp_path: Path, *, is_recomputed: bool) -> None:
    """Also with adapters off, which the code of a layer is compiled for anew."""
    small = a_model(tmp_path, layers=1)
    changes = {"use_torch_compile": True, "gradient_checkpointing": is_recomputed}

    plain, compiled = trained(small, algorithm=KL), trained(small, algorithm=KL, **changes)

    np.testing.assert_allclose(exported(compiled), exported(plain), rtol=0, atol=1e-6)


# ── merging ──


def test_merged_weights_are_those_of_peft(model: Path, tmp_path: Path) -> None:
    trainer = trained(model, num_steps=3)
    ours = {name: tensor.clone() for name, tensor in gathered_weights(trainer._policy)}
    trainer.save(tmp_path, step=3, lineage=0)

    wrapped = PeftModel.from_pretrained(base_of(model), str(tmp_path / "adapter"))
    theirs = dict(wrapped.merge_and_unload().state_dict())

    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-6)
    moved = [
        name for name, tensor in ours.items() if not torch.equal(tensor, load_file(model / "model.safetensors")[name])
    ]
    assert len(moved) == 14  # seven linear layers in each of two decoder layers


def test_names_and_shapes_are_those_of_the_base(model: Path) -> None:
    stored = load_file(model / "model.safetensors")

    shapes = {shape.name: shape.shape for shape in a_trainer(model).weight_shapes()}

    assert shapes == {name: tuple(tensor.shape) for name, tensor in stored.items()}


# ── checkpoints ──


def test_the_folder_holds_the_merged_model_and_its_adapters_which_say_the_same(model: Path, tmp_path: Path) -> None:
    trained(model, num_steps=3).save(tmp_path, step=3, lineage=0)

    merged = logprobs(base_of(tmp_path), SOME_IDS)
    adapted = logprobs(PeftModel.from_pretrained(base_of(model), str(tmp_path / "adapter")), SOME_IDS)

    torch.testing.assert_close(adapted, merged, rtol=0, atol=1e-5)
    assert (merged - logprobs(base_of(model), SOME_IDS)).abs().max() > 1e-2


def test_the_same_adapters_give_the_same_bytes(tied_model: Path, tmp_path: Path) -> None:
    trainer = trained(tied_model, lora=LoraOptions(rank=2, target_modules=("v_proj", "q_proj", "up_proj")))

    files = []
    for name in ("a", "b"):
        trainer.save(tmp_path / name, step=2, lineage=0)
        folder = tmp_path / name / "adapter"
        files.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})

    assert files[0] == files[1]
    assert json.loads(files[0]["adapter_config.json"])["target_modules"] == ["q_proj", "up_proj", "v_proj"]


def test_all_linear_is_spelled_out_in_the_folder(tied_model: Path, tmp_path: Path) -> None:
    a_trainer(tied_model).save(tmp_path, step=0, lineage=0)

    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())

    projections = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert config["target_modules"] == projections
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 16.0, str(tied_model))


def test_the_trainers_half_holds_adapters_alone(tied_model: Path) -> None:
    names = a_trainer(tied_model)._tensors()

    assert len(names) == 3 * 2 * 14  # weights and two moments of two factors of each layer
    assert all(".lora_" in name for name in names)


def test_adapters_of_another_base_are_refused(tied_model: Path, reference_model: Path, tmp_path: Path) -> None:
    trained(tied_model).save(tmp_path, step=2, lineage=0)

    with pytest.raises(CheckpointError, match="were trained on other weights than those of"):
        a_trainer(reference_model).load(tmp_path)


def test_adapters_of_another_rank_are_refused(tied_model: Path, tmp_path: Path) -> None:
    trained(tied_model).save(tmp_path, step=2, lineage=0)

    with pytest.raises(CheckpointError, match=r"is \(2, \d+\) in this model and \(4, \d+\) in"):
        a_trainer(tied_model, lora=LoraOptions(rank=2)).load(tmp_path)


def test_a_checkpoint_of_all_weights_is_no_checkpoint_of_adapters(tied_model: Path, tmp_path: Path) -> None:
    Trainer.create(options(tied_model)).save(tmp_path, step=0, lineage=0)

    with pytest.raises(CheckpointError, match="is None in this model"):
        a_trainer(tied_model).load(tmp_path)


# ── dropout ──

THINNED = LoraOptions(rank=4, dropout=0.5)


def test_with_one_optimizer_step_ratios_are_one_whatever_is_dropped(tied_model: Path) -> None:
    algorithm = AlgorithmOptions(eps_clip_low=0.0, eps_clip_high=0.0)
    trainer = a_trainer(tied_model, lora=THINNED, algorithm=algorithm)

    found = [trainer.execute(AStep(seed=seed, step=seed + 1).share()).metrics for seed in range(3)]

    assert [(metrics["clip_ratio"], metrics["ppo_kl"]) for metrics in found] == [(0.0, 0.0)] * 3


def test_passes_without_gradient_drop_nothing_and_those_with_one_do(tied_model: Path, tmp_path: Path) -> None:
    """With two mini-batches the old log-probabilities, which the mismatch is measured with, come from such a pass."""
    trained(tied_model, lora=THINNED).save(tmp_path, step=2, lineage=0)
    step = AStep(seed=7, step=3, num_mini_batches=2)

    found = []
    for lora in (LORA, THINNED):
        trainer = a_trainer(tied_model, lora=lora, optimizer=FROZEN)
        trainer.load(tmp_path)
        found.append(trainer.execute(step.share()).metrics)

    plain, thinned = found
    assert thinned["logprob_diff_mean"] == plain["logprob_diff_mean"]
    assert plain["ppo_kl"] == 0.0
    assert abs(thinned["ppo_kl"]) > 1e-4


def test_dropping_changes_the_gradient(tied_model: Path) -> None:
    """Once the second factor is not zero, what the first one sees matters."""
    plain, thinned = (trained(tied_model, lora=lora, num_steps=2) for lora in (LORA, THINNED))

    assert np.abs(exported(plain) - exported(thinned)).max() > 1e-4
