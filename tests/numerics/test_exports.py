"""What a rank publishes: everything merged, or adapters alone with a word on their base; and the canary beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, options
from transformers import AutoModelForCausalLM

from tetrad_learner.rank.exports import Exports
from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.export import Part, gathered_weights
from tetrad_learner.trainer.options import LoraOptions, RowLayout
from tetrad_weights import DigestAlgorithm, Parameter, build, lay_out

pytestmark = pytest.mark.usefixtures("lone_rank")

LORA = LoraOptions(rank=4, alpha=8.0)
IDS = (5, 9, 2, 14, 3, 8, 1)


def trained(model: Path) -> Trainer:
    trainer = Trainer.create(options(model, lora=LORA))
    trainer.execute(AStep(seed=1, step=1).share())
    return trainer


def test_adapters_alone_have_peft_names_and_their_values(model: Path) -> None:
    trainer = trained(model)
    exports = Exports(trainer, dtype="float32", adapters_only=True)
    buffer = np.zeros(exports.layout.num_bytes, np.uint8)

    exports.fill(buffer)

    factors = dict(gathered_weights(trainer._policy, Part.ADAPTERS))
    assert {spec.name for spec in exports.layout.tensors} == set(factors)
    for spec in exports.layout.tensors:
        assert spec.name.startswith("base_model.model.")
        assert spec.name.endswith((".lora_A.weight", ".lora_B.weight"))
        piece = torch.from_numpy(buffer[spec.offset : spec.offset + spec.num_bytes]).view(torch.float32)
        assert torch.equal(piece.view(spec.shape), factors[spec.name])


def test_the_base_that_adapters_name_is_what_their_run_began_with(model: Path) -> None:
    spec = Exports(trained(model), dtype="float32", adapters_only=True).adapter(DigestAlgorithm.XXH3_128)
    plain = Trainer.create(options(model))
    layout = lay_out(Parameter(s.name, "float32", s.shape) for s in plain.weight_shapes())
    buffer = np.zeros(layout.num_bytes, np.uint8)
    plain.export_into(buffer, layout.tensors)

    assert spec is not None
    assert spec.base == build(layout, buffer).digest
    assert (spec.rank, spec.alpha) == (4, 8.0)


def test_whole_weights_name_no_base(model: Path) -> None:
    exports = Exports(trained(model), dtype="float32")

    assert exports.adapter(DigestAlgorithm.XXH3_128) is None
    assert exports.part is Part.MERGED


@pytest.mark.parametrize("layout", [RowLayout.PADDED, RowLayout.PACKED])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_canary_is_what_the_model_says_at_temperature_one(
    model: Path, layout: RowLayout, temperature: float
) -> None:
    algorithm = AlgorithmOptions(temperature=temperature)
    trainer = Trainer.create(options(model, algorithm=algorithm, row_layout=layout))

    found = trainer.canary(IDS)

    causal_lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        logits = causal_lm(input_ids=torch.tensor([IDS])).logits[0, -1]
    expected = logits.log_softmax(-1)[torch.tensor(IDS)]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0.0, atol=1e-5)
    assert trainer._policy.temperature == temperature
