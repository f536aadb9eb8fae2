"""A run whose ranks have too little memory goes on with smaller micro-batches, alone and with others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_runtime.exits import ExitCode

pytestmark = [pytest.mark.long, pytest.mark.live, pytest.mark.timeout(900)]

DEADLINE_S = 600.0
LOSS = """
import torch
from tetrad_algorithms.losses import LossOptions, PolicyTokens, TokenLoss, ratio

# As many trained tokens as this "device" has memory for.
MOST = {most}

def short_of_memory(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
    if len(tokens.advantages_T) > MOST:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    loss_T = -ratio(tokens.learner_logprobs_T, tokens.old_logprobs_T) * tokens.advantages_T
    return TokenLoss(loss_T=loss_T, is_clipped_T=torch.zeros_like(loss_T, dtype=torch.bool))
"""
RUN = (
    "+experiment=demo",
    "trainer.run_name=short",
    "trainer.max_steps=2",
    "trainer.ckpt_interval=1",
    "trainer.eval_before_train=false",
    "trainer.eval_interval=-1",
    "trainer.train_batch_size=8",
    "trainer.policy_mini_batch_size=8",
    "generator.n_samples_per_prompt=4",
    "trainer.algorithm.policy_loss_type=short:short_of_memory",
)


def train(folder: Path, *overrides: str, most: int) -> "subprocess.CompletedProcess[str]":
    (folder / "short.py").write_text(LOSS.format(most=most))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
    return subprocess.run(
        [sys.executable, "-m", "tetrad_cli", "train", *RUN, *overrides],
        cwd=folder,
        env={**environ, "XDG_RUNTIME_DIR": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def log_of(folder: Path) -> str:
    return (folder / "outputs" / "short" / "logs" / "learner.log").read_text()


def test_a_lone_rank_begins_the_mini_batch_again_and_says_what_fits(tmp_path: Path) -> None:
    done = train(tmp_path, most=40)

    assert done.returncode == 0, done.stdout
    log = log_of(tmp_path)
    assert "micro_batches_cut_smaller" in log
    assert "fix='trainer.max_tokens_per_microbatch=" in log
    assert "ranks_lost" not in log


def test_several_ranks_all_begin_again_from_the_last_checkpoint(tmp_path: Path) -> None:
    done = train(tmp_path, "trainer.placement.policy_num_gpus_per_node=2", most=40)

    assert done.returncode == 0, done.stdout
    log = log_of(tmp_path)
    assert "all ranks begin again with smaller ones" in log
    assert "divisor=" in log


def test_a_sample_that_does_not_fit_ends_the_run_with_the_change_that_is_left(tmp_path: Path) -> None:
    done = train(tmp_path, most=0)

    assert done.returncode == ExitCode.ENVIRONMENT, done.stdout
    assert "each micro-batch is a single sample already" in done.stdout
    assert "trainer.gradient_checkpointing=true" in done.stdout
    assert "tetrad explain out-of-memory" in done.stdout
