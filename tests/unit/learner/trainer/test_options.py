"""Options are plain values that need no torch."""

from __future__ import annotations

import subprocess
import sys

from tetrad_learner.trainer.options import LoraOptions, TrainerOptions


def test_the_reference_is_the_initial_policy_unless_named() -> None:
    assert TrainerOptions(model_path="m").reference == "m"
    assert TrainerOptions(model_path="m", reference_path="r").reference == "r"


def test_the_base_below_adapters_is_the_reference_unless_another_model_is_named() -> None:
    lora = LoraOptions(rank=8)

    assert TrainerOptions(model_path="m", lora=lora).is_reference_inside
    assert TrainerOptions(model_path="m", reference_path="m", lora=lora).is_reference_inside
    assert not TrainerOptions(model_path="m", reference_path="r", lora=lora).is_reference_inside
    assert not TrainerOptions(model_path="m").is_reference_inside


def test_options_and_batches_import_no_torch() -> None:
    modules = "tetrad_learner.trainer.options, tetrad_learner.trainer.batch, tetrad_learner.trainer.packing"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)

    assert done.returncode == 0
