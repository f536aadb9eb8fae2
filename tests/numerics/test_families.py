"""Every family that is promised: gradients do not depend on rows being padded or packed, and it exports whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, a_model, exported, last_gradient, options
from transformers import AutoModelForCausalLM

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import RowLayout

pytestmark = pytest.mark.usefixtures("lone_rank")

FAMILIES = ("tied", "untied", "qwen3", "gemma", "gemma3")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_model(tmp_path_factory.mktemp("families") / request.param, kind=request.param)


def test_packed_and_padded_rows_give_the_gradient_of_samples_one_by_one(family: Path) -> None:
    gradients = {}
    for name, layout, micro in (
        ("one", RowLayout.PADDED, 1),
        ("padded", RowLayout.PADDED, 5),
        ("packed", RowLayout.PACKED, 5),
    ):
        trainer = Trainer.create(options(family, micro_train_batch_size=micro, row_layout=layout))
        trainer.execute(AStep().share())
        gradients[name] = last_gradient(trainer)

    scale = np.abs(gradients["one"]).max()
    np.testing.assert_allclose(gradients["padded"], gradients["one"], rtol=0, atol=1e-6 * max(scale, 1))
    np.testing.assert_allclose(gradients["packed"], gradients["one"], rtol=0, atol=1e-6 * max(scale, 1))


def test_a_checkpoint_loads_as_the_family_and_holds_the_weights(family: Path, tmp_path: Path) -> None:
    trainer = Trainer.create(options(family))
    trainer.execute(AStep().share())
    trainer.save(tmp_path, step=1, lineage=0)

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)

    seen: dict[int, torch.Tensor] = {id(tensor): tensor for tensor in loaded.state_dict(keep_vars=True).values()}
    assert type(loaded) is type(AutoModelForCausalLM.from_pretrained(family))
    assert np.array_equal(exported(trainer), torch.cat([tensor.detach().flatten() for tensor in seen.values()]).numpy())
