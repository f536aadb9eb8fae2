"""A checkpoint of another model is refused by its own description, before anything starts."""

import json

import pytest

from tetrad_cli.architecture import refuse_other_architecture
from tetrad_config import load
from tetrad_runtime.exits import ConfigFault

LLAMA = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100}


@pytest.fixture
def resumed(tmp_path):
    """Load a run of a llama that goes on from a checkpoint of a model described so."""

    def load_it(checkpoint, *overrides):
        for name, description in (("model", LLAMA), ("global_step_2", checkpoint)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "config.json").write_text(json.dumps(description))
        words = [
            f"trainer.policy.model.path={tmp_path / 'model'}",
            "trainer.resume_mode=from_path",
            f"trainer.resume_path={tmp_path / 'global_step_2'}",
        ]
        return load([*words, *overrides], environ={}).config

    return load_it


def test_every_difference_is_named(resumed):
    with pytest.raises(ConfigFault, match="it has model_type qwen2 and not llama, num_hidden_layers 3 and not 2"):
        refuse_other_architecture(resumed(LLAMA | {"model_type": "qwen2", "num_hidden_layers": 3}))


def test_one_of_the_same_model_passes_whatever_else_differs(resumed):
    refuse_other_architecture(resumed(LLAMA | {"transformers_version": "9", "torch_dtype": "float32"}))
