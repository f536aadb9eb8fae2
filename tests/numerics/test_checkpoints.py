"""A checkpoint is a Hugging Face folder, and resuming from it is as if nothing had happened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, exported, options
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, AutoTokenizer

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import CheckpointError
from tetrad_learner.trainer.options import ComputeDtype, OptimizerOptions, ScheduleKind
from tetrad_learner.trainer.policy import ForwardInputs

pytestmark = pytest.mark.usefixtures("lone_rank")

SCHEDULED = OptimizerOptions(
    lr=1e-2, schedule=ScheduleKind.COSINE, num_warmup_steps=2, num_training_steps=12, max_grad_norm=0.5
)
STEPS = [AStep(seed=s, step=s + 1, num_mini_batches=2) for s in range(4)]


def test_resuming_equals_never_having_stopped_bit_for_bit(model: Path, tmp_path: Path) -> None:
    straight = Trainer.create(options(model, optimizer=SCHEDULED))
    for step in STEPS:
        expected = straight.execute(step.share())
    stopped = Trainer.create(options(model, optimizer=SCHEDULED))
    for step in STEPS[:2]:
        stopped.execute(step.share())
    stopped.save(tmp_path / "checkpoint", step=2, lineage=5)

    resumed = Trainer.create(options(model, optimizer=SCHEDULED))
    position = resumed.load(tmp_path / "checkpoint")
    for step in STEPS[2:]:
        result = resumed.execute(step.share())

    assert (position.step, position.lineage, position.optimizer_steps) == (2, 5, 4)
    assert np.array_equal(exported(resumed), exported(straight))
    assert result.metrics["lr"] == expected.metrics["lr"]
    assert result.metrics["loss"] == expected.metrics["loss"]


def test_the_folder_loads_with_transformers_and_gives_the_same_logits(model: Path, tmp_path: Path) -> None:
    trainer = Trainer.create(options(model))
    trainer.execute(AStep().share())
    trainer.save(tmp_path, step=1, lineage=0)

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)

    flat = np.concatenate([p.detach().numpy().ravel() for p in loaded.parameters()])
    assert np.array_equal(flat, exported(trainer))
    assert loaded.dtype == torch.float32
    ids = torch.arange(9)
    fed = ForwardInputs(input_ids=ids[None, :-1], position_ids=None, source_T=torch.arange(8), target_T=ids[1:])
    with torch.no_grad():
        theirs = loaded(ids[None, :-1]).logits[0].log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
        torch.testing.assert_close(trainer._policy(fed)[0], theirs, rtol=0, atol=1e-6)
    assert loaded.generation_config.eos_token_id == 2


def test_the_tokenizer_goes_along(tied_model: Path, tmp_path: Path) -> None:
    source = shutil.copytree(tied_model, tmp_path / "source")
    Tokenizer(models.WordLevel({"<pad>": 0, "<bos>": 1, "<eos>": 2, "seven": 3}, unk_token="<pad>")).save(
        str(source / "tokenizer.json")
    )
    (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    (source / "chat_template.jinja").write_text("{{ messages[0].content }}")
    trainer = Trainer.create(options(source))

    trainer.save(tmp_path / "saved", step=0, lineage=0)

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer.encode("seven") == [3]
    assert tokenizer.apply_chat_template([{"role": "user", "content": "seven"}], tokenize=False) == "seven"


def test_bfloat16_compute_saves_a_bfloat16_folder_but_float32_masters(tied_model: Path, tmp_path: Path) -> None:
    trainer = Trainer.create(options(tied_model, compute_dtype=ComputeDtype.BFLOAT16))
    trainer.execute(AStep().share())
    trainer.save(tmp_path, step=1, lineage=0)

    resumed = Trainer.create(options(tied_model, compute_dtype=ComputeDtype.BFLOAT16))
    resumed.load(tmp_path)

    assert AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.bfloat16
    assert np.array_equal(exported(resumed), exported(trainer))


def test_the_weights_file_holds_tied_tensors_once(tied_model: Path, tmp_path: Path) -> None:
    trainer = Trainer.create(options(tied_model))

    trainer.save(tmp_path, step=0, lineage=0)

    assert set(load_file(tmp_path / "model.safetensors")) == set(load_file(tied_model / "model.safetensors"))


def test_a_folder_without_trainer_state_is_refused_by_name(tied_model: Path) -> None:
    trainer = Trainer.create(options(tied_model))

    with pytest.raises(CheckpointError, match="is no checkpoint of a trainer"):
        trainer.load(tied_model)


def test_a_checkpoint_of_another_model_is_refused_before_anything_changes(
    tied_model: Path, untied_model: Path, tmp_path: Path
) -> None:
    Trainer.create(options(untied_model)).save(tmp_path, step=0, lineage=0)
    trainer = Trainer.create(options(tied_model))
    before = exported(trainer)

    with pytest.raises(CheckpointError, match="in this model"):
        trainer.load(tmp_path)

    assert np.array_equal(exported(trainer), before)
