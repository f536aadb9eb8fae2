"""No knob is dead: every key of the algorithm, of the critic's training and of adapters changes what a step does.

Each row of TABLE gives a key values under which the same two steps of one batch must end differently: in weights, in
metrics, or in the names of what a checkpoint would hold. The way is the real one, from the run file to the ranks.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, a_model, exported
from transformers import AutoModelForCausalLM

from tetrad_config import load
from tetrad_config.schema import fields
from tetrad_learner.rank.options import trainer_options
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import TrainerOptions

pytestmark = pytest.mark.usefixtures("lone_rank")

ALGORITHM = "trainer.algorithm"
CORRECTION = f"{ALGORITHM}.off_policy_correction"
OPTIMIZER = "trainer.critic.optimizer_config"
GAE = (f"{ALGORITHM}.advantage_estimator=gae",)
KL_LOSS = (f"{ALGORITHM}.use_kl_loss=true", f"{ALGORITHM}.kl_loss_coef=0.1")
KL_REWARD = (f"{ALGORITHM}.use_kl_in_reward=true", f"{ALGORITHM}.kl_loss_coef=0.1")
ADAPTIVE = (*KL_REWARD, f"{ALGORITHM}.kl_ctrl.type=adaptive", f"{ALGORITHM}.kl_ctrl.horizon=20")
ICEPOP = (f"{CORRECTION}.token_mask_is_threshold_low=0.5", f"{CORRECTION}.token_mask_is_threshold_high=2.0")
GEOMETRIC = (
    f"{CORRECTION}.sequence_mask_metric=geometric",
    f"{CORRECTION}.geo_mask_low=0.5",
    f"{CORRECTION}.geo_mask_high=2.0",
)
PRODUCT = (
    f"{CORRECTION}.sequence_mask_metric=product",
    f"{CORRECTION}.product_mask_low=0.1",
    f"{CORRECTION}.product_mask_high=10.0",
)
LORA = "trainer.policy.model.lora"
RANK_2 = (f"{LORA}.rank=2",)
CLIP_COV = (
    f"{ALGORITHM}.policy_loss_type=clip_cov",
    f"{ALGORITHM}.clip_cov.clip_ratio=0.5",
    f"{ALGORITHM}.clip_cov.clip_cov_lb=-9.0",
    f"{ALGORITHM}.clip_cov.clip_cov_ub=9.0",
)


def loss(name: str) -> tuple[str, ...]:
    return (f"{ALGORITHM}.policy_loss_type={name}",)


# key · values that must all end differently · what makes the key matter
TABLE: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    # ── advantages ──
    (f"{ALGORITHM}.advantage_estimator", ("grpo", "gae", "rloo", "reinforce++", "maxrl"), ()),
    (f"{ALGORITHM}.grpo_norm_by_std", ("true", "false"), ()),
    (f"{ALGORITHM}.grpo_std", ("sample", "population"), ()),
    (f"{ALGORITHM}.grpo_std_epsilon", ("1.0e-6", "0.5"), ()),
    (f"{ALGORITHM}.grpo_singleton", ("zero", "raw_reward"), ()),
    (f"{ALGORITHM}.advantage_batch_normalize", ("true", "false"), ()),
    (f"{ALGORITHM}.zero_variance_filter", ("true", "false"), ()),
    (f"{ALGORITHM}.gamma", ("1.0", "0.5"), GAE),
    (f"{ALGORITHM}.lambd", ("1.0", "0.5"), GAE),
    # ── policy loss ──
    (
        f"{ALGORITHM}.policy_loss_type",
        (
            *("regular", "dual_clip", "gspo", "clip_cov", "kl_cov", "cispo", "sapo"),
            *("importance_sampling", "rollout_is"),
        ),
        (f"{ALGORITHM}.eps_clip_low=0.02", f"{ALGORITHM}.eps_clip_high=0.02", f"{ALGORITHM}.clip_ratio_c=1.01"),
    ),
    (
        f"{ALGORITHM}.loss_reduction",
        ("token_mean", "sequence_mean", "prompt_mean", "seq_mean_token_sum_norm"),
        (),
    ),
    (f"{ALGORITHM}.max_seq_len", ("-1", "64"), (f"{ALGORITHM}.loss_reduction=seq_mean_token_sum_norm",)),
    (f"{ALGORITHM}.eps_clip_low", ("0.2", "0.01"), ()),
    (f"{ALGORITHM}.eps_clip_high", ("0.2", "0.01"), ()),
    (f"{ALGORITHM}.clip_ratio_c", ("3.0", "1.01"), loss("dual_clip")),
    (f"{ALGORITHM}.sapo.tau_pos", ("1.0", "3.0"), loss("sapo")),
    (f"{ALGORITHM}.sapo.tau_neg", ("1.05", "3.0"), loss("sapo")),
    (f"{ALGORITHM}.cispo.cispo_eps_clip_low", ("1.0", "0.01"), loss("cispo")),
    (f"{ALGORITHM}.cispo.cispo_eps_clip_high", ("4.0", "0.01"), loss("cispo")),
    (f"{ALGORITHM}.clip_cov.clip_ratio", ("0.05", "0.5"), CLIP_COV),
    (f"{ALGORITHM}.clip_cov.clip_cov_lb", ("-9.0", "0.1"), CLIP_COV),
    (f"{ALGORITHM}.clip_cov.clip_cov_ub", ("9.0", "0.1"), CLIP_COV),
    (f"{ALGORITHM}.kl_cov.kl_cov_frac", ("0.2", "0.9"), loss("kl_cov")),
    (f"{ALGORITHM}.kl_cov.ppo_kl_coef", ("1.0", "5.0"), loss("kl_cov")),
    # ── divergence and entropy ──
    (f"{ALGORITHM}.use_kl_loss", ("true", "false"), ()),
    (f"{ALGORITHM}.kl_loss_coef", ("0.001", "0.5"), KL_LOSS),
    (f"{ALGORITHM}.kl_estimator_type", ("k1", "k2", "k3", "abs"), KL_LOSS),
    (f"{ALGORITHM}.use_kl_in_reward", ("true", "false"), ()),
    (f"{ALGORITHM}.kl_ctrl.type", ("fixed", "adaptive"), ADAPTIVE),
    (f"{ALGORITHM}.kl_ctrl.kl_target", ("0.001", "50.0"), ADAPTIVE),
    (f"{ALGORITHM}.kl_ctrl.horizon", ("20", "1000"), ADAPTIVE),
    (f"{ALGORITHM}.use_entropy_loss", ("true", "false"), ()),
    (f"{ALGORITHM}.entropy_loss_coef", ("0.01", "0.5"), (f"{ALGORITHM}.use_entropy_loss=true",)),
    # ── rollout against learner ──
    (f"{ALGORITHM}.use_rollout_logprobs_as_old", ("true", "false"), ()),
    (f"{ALGORITHM}.use_tis", ("true", "false"), ()),
    (f"{ALGORITHM}.tis_imp_ratio_cap", ("-1.0", "1.01"), (f"{ALGORITHM}.use_tis=true",)),
    (f"{CORRECTION}.tis_ratio_type", ("null", "token", "sequence"), ()),
    (f"{CORRECTION}.token_tis_ratio_clip_high", ("2.0", "1.01"), (f"{CORRECTION}.tis_ratio_type=token",)),
    (f"{CORRECTION}.sequence_tis_ratio_clip_high", ("5.0", "1.01"), (f"{CORRECTION}.tis_ratio_type=sequence",)),
    (f"{CORRECTION}.token_mask_is_threshold_low", ("0.5", "0.95"), ICEPOP),
    (f"{CORRECTION}.token_mask_is_threshold_high", ("2.0", "1.05"), ICEPOP),
    (f"{CORRECTION}.sequence_mask_metric", ("null", "product", "geometric"), ()),
    (f"{CORRECTION}.geo_mask_low", ("0.5", "0.97"), GEOMETRIC),
    (f"{CORRECTION}.geo_mask_high", ("2.0", "1.03"), GEOMETRIC),
    (f"{CORRECTION}.product_mask_low", ("0.1", "0.9"), PRODUCT),
    (f"{CORRECTION}.product_mask_high", ("10.0", "1.1"), PRODUCT),
    (f"{CORRECTION}.outlier_token_is_threshold_low", ("null", "0.8"), ()),
    (f"{CORRECTION}.outlier_token_is_threshold_high", ("null", "1.2"), ()),
    # ── adapters ──
    (f"{LORA}.rank", ("0", "2", "4"), ()),
    (f"{LORA}.alpha", ("16", "4"), RANK_2),
    (f"{LORA}.dropout", ("0.0", "0.5"), RANK_2),
    (f"{LORA}.target_modules", ("all-linear", "q_proj", "[q_proj, up_proj]"), RANK_2),
    (f"{LORA}.exclude_modules", ("[]", "[q_proj]"), RANK_2),
    (f"{LORA}.init_method", ("kaiming", "gaussian"), RANK_2),
    # ── critic ──
    (f"{ALGORITHM}.value_clip", ("0.2", "0.001"), GAE),
    (f"{ALGORITHM}.value_head_prefix", ("value_head", "score"), GAE),
    ("trainer.critic_mini_batch_size", ("1", "2", "4"), GAE),
    (f"{OPTIMIZER}.lr", ("0.01", "0.001"), GAE),
    (f"{OPTIMIZER}.adam_betas", ("[0.9, 0.999]", "[0.5, 0.999]", "[0.9, 0.5]"), GAE),
    (f"{OPTIMIZER}.weight_decay", ("0.01", "0.5"), GAE),
    (f"{OPTIMIZER}.max_grad_norm", ("1.0", "0.001"), GAE),
    (f"{OPTIMIZER}.num_warmup_steps", ("0", "3"), GAE),
    (f"{OPTIMIZER}.scheduler", ("constant", "linear", "cosine"), GAE),
    (
        f"{OPTIMIZER}.scheduler",
        ("constant", "constant_with_warmup"),
        (*GAE, f"{OPTIMIZER}.num_warmup_steps=3"),
    ),
)

# Keys that something else than a training step obeys, and what.
ELSEWHERE = {
    f"{ALGORITHM}.overlong_buffer.enable": "the coordinator punishes long samples on their way to the ranks",
    f"{ALGORITHM}.overlong_buffer.len": "the coordinator punishes long samples on their way to the ranks",
    f"{ALGORITHM}.overlong_buffer.penalty_factor": "the coordinator punishes long samples on their way to the ranks",
    f"{ALGORITHM}.dynamic_sampling.type": "the coordinator chooses groups before a step is sealed",
    f"{ALGORITHM}.dynamic_sampling.max_sample_batches": "the coordinator bounds what it draws for a step",
    f"{ALGORITHM}.dynamic_sampling.min_replace_ratio": "the coordinator chooses groups before a step is sealed",
    f"{OPTIMIZER}.offload_after_step": "moments move between memories, and stay what they are",
}

NUM_STEPS = 2
# Beyond the noise of float32 sums in another order.
MEASURABLE = 1e-6
GROUPS = [0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
# A group of one, a flat one, and two that teach.
REWARDS = [1.0, 0.5, 0.5, 0.5, 0.0, 2.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]


@dataclass(frozen=True)
class Outcome:
    """What two steps came to."""

    weights: np.ndarray
    critic: dict[str, np.ndarray]
    metrics: tuple[dict[str, float], ...]

    def differs_from(self, other: Outcome) -> bool:
        mine, theirs = self.numbers(), other.numbers()
        return mine.keys() != theirs.keys() or any(
            not np.allclose(mine[name], theirs[name], rtol=MEASURABLE, atol=MEASURABLE) for name in mine
        )

    def numbers(self) -> dict[str, np.ndarray | float]:
        named = {f"{step}.{name}": value for step, seen in enumerate(self.metrics) for name, value in seen.items()}
        return {"weights": self.weights, **self.critic, **named}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sensitivity")
    a_model(folder / "policy", layers=1)
    a_model(folder / "reference", layers=1, seed=1)
    return folder


@cache
def batch(folder: Path) -> StepBatch:
    """Twelve samples whose rollout log-probabilities are the policy's own, give or take a tenth."""
    step = AStep(num_groups=4, group_size=3, num_mini_batches=2)
    model = AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32)
    noise = np.random.default_rng(5)
    plain, rollout = step.share(), []
    for sample in step.samples:
        ids = torch.from_numpy(sample["token_ids"]).long()
        with torch.no_grad():
            logprobs = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
        near = np.concatenate([[0.0], logprobs.numpy() + 0.1 * noise.normal(size=len(logprobs))])
        rollout.append(np.minimum(near, 0.0) * sample["loss_mask"])
    return dataclasses.replace(
        plain,
        rollout_logprobs=np.concatenate(rollout).astype(np.float32),
        group=np.array(GROUPS, dtype=np.int32),
        rewards=np.array(REWARDS, dtype=np.float32),
    )


def outcome(folder: Path, overrides: tuple[str, ...]) -> Outcome:
    return executed(options(folder, overrides), folder)


def options(folder: Path, overrides: tuple[str, ...]) -> TrainerOptions:
    base = (
        "+experiment=demo",
        f"trainer.policy.model.path={folder / 'policy'}",
        f"trainer.ref.model.path={folder / 'reference'}",
        f"trainer.critic.model.path={folder / 'policy'}",
        "trainer.train_batch_size=4",
        "trainer.policy_mini_batch_size=2",
        "trainer.critic_mini_batch_size=2",
        "generator.n_samples_per_prompt=3",
        "trainer.policy.optimizer_config.lr=0.01",
        "trainer.critic.optimizer_config.lr=0.01",
    )
    config = load([*base, *overrides], environ={}).config
    return trainer_options(config, device="cpu", num_steps=NUM_STEPS)


@cache
def executed(options: TrainerOptions, folder: Path) -> Outcome:
    """Two steps; equal options are tried once."""
    trainer = Trainer.create(options)
    results = [
        trainer.execute(dataclasses.replace(batch(folder), step=step)).metrics for step in range(1, 1 + NUM_STEPS)
    ]
    return Outcome(
        weights=exported(trainer),
        critic={
            name: tensor.full_tensor().numpy().copy()
            for name, tensor in trainer._tensors().items()
            if name.startswith("critic")
        },
        metrics=tuple(
            {name: value for name, value in metrics.items() if not name.startswith("seconds_")} for metrics in results
        ),
    )


@pytest.mark.parametrize(("key", "values", "base"), TABLE, ids=[row[0].removeprefix("trainer.") for row in TABLE])
def test_every_value_of_a_key_ends_differently(
    folder: Path, key: str, values: tuple[str, ...], base: tuple[str, ...]
) -> None:
    outcomes = {value: outcome(folder, (*base, f"{key}={value}")) for value in values}

    for (one, first), (other, second) in itertools.combinations(outcomes.items(), 2):
        assert first.differs_from(second), f"{key}: {one} and {other} end alike"


def test_nothing_but_the_key_makes_the_difference(folder: Path) -> None:
    again = executed.__wrapped__(options(folder, GAE), folder)

    assert not outcome(folder, GAE).differs_from(again)


def test_the_table_holds_every_key_of_the_algorithm_the_critics_training_and_adapters() -> None:
    sections = (f"{ALGORITHM}.", f"{OPTIMIZER}.", "trainer.critic_mini_batch_size", f"{LORA}.")

    known = {key for key in fields() if key.startswith(sections)}

    assert {key for key, _values, _base in TABLE} | ELSEWHERE.keys() == known
