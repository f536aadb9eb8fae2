"""Notices: a key that was set and has no effect is named."""

import pytest

from tetrad_config.notices import CONDITIONAL
from tetrad_config.schema import fields


@pytest.mark.parametrize("key", [key for row in CONDITIONAL for key in row.keys])
def test_every_conditional_key_exists(key):
    assert any(known == key or known.startswith(f"{key}.") for known in fields())


def test_gamma_under_grpo_has_no_effect_and_that_is_said(load_run):
    notices = load_run("trainer.algorithm.gamma=0.99", "trainer.algorithm.lambda_=0.95").notices

    assert "no effect with advantage_estimator=grpo: trainer.algorithm.lambd, trainer.algorithm.gamma" in notices


@pytest.mark.parametrize(
    ("estimator", "outcome"),
    [
        ("grpo", "under grpo: its reward is its advantage (grpo_singleton=raw_reward)"),
        ("maxrl", "under maxrl: its reward is its advantage (grpo_singleton=raw_reward)"),
        ("rloo", "under rloo: no reward teaches anything"),
    ],
)
def test_a_group_of_one_is_announced_with_what_becomes_of_it(load_run, estimator, outcome):
    asked = {"advantage_estimator": estimator, "grpo_singleton": "raw_reward"}
    overrides = [f"trainer.algorithm.{name}={value}" for name, value in asked.items()]

    notices = load_run("generator.n_samples_per_prompt=1", *overrides).notices

    assert [notice for notice in notices if outcome in notice]


def test_taking_turns_on_a_cpu_is_called_a_rehearsal(load_run):
    notices = load_run("trainer.placement.colocate_all=true").notices

    assert [notice for notice in notices if "no memory is freed by it; it is a rehearsal" in notice]


def test_reinforce_plus_plus_needs_no_group(load_run):
    alone = ("generator.n_samples_per_prompt=1", "trainer.algorithm.advantage_estimator=reinforce++")

    assert not any("group of one" in notice for notice in load_run(*alone).notices)


@pytest.mark.parametrize(
    ("overrides", "notice"),
    [
        (["generator.sampling_params.top_p=0.9"], "not of the behaviour policy"),
        (["generator.sampling_params.temperature=0"], "the 5 samples of a prompt are equal and teach nothing"),
        (["generator.n_samples_per_prompt=1"], "a group of one has nothing to compare with"),
        (["trainer.ref.model.path=other/model"], "the reference other/model is not the model that training starts"),
        (["generator.eval_n_samples_per_prompt=4"], "the 4 evaluation samples of a prompt are equal"),
        (["data.val_data=null"], "data.val_data is empty: nothing is evaluated"),
        (["generator.deterministic=true", "trainer.fully_async.max_staleness_steps=1"], "max_staleness_steps=0"),
        (["trainer.epochs=0", "trainer.ckpt_interval=3"], "neither resumes, trains nor saves: trainer.ckpt_interval"),
        (["trainer.algorithm.use_kl_loss=false", "trainer.algorithm.kl_loss_coef=1.0"], "use_kl_loss=false"),
        (
            ["trainer.algorithm.advantage_estimator=reinforce++", "trainer.algorithm.lambd=0.9"],
            "reinforce++, which has no lambda: trainer.algorithm.lambd",
        ),
        (
            ["trainer.critic.model.path=m", "trainer.critic.optimizer_config.lr=1.0"],
            "no effect with no critic (advantage_estimator=grpo): trainer.critic.model.path",
        ),
        (
            ["trainer.algorithm.policy_loss_type=cispo", "trainer.algorithm.eps_clip_low=0.1"],
            "no effect with policy_loss_type=cispo: trainer.algorithm.eps_clip_low",
        ),
        (["trainer.algorithm.max_seq_len=9"], "no effect with loss_reduction=token_mean: trainer.algorithm.max_seq"),
        (["trainer.algorithm.tis_imp_ratio_cap=2.0"], "no effect with use_tis=false"),
        (["trainer.algorithm.sapo.tau_pos=2.0"], "no effect with policy_loss_type=regular: trainer.algorithm.sapo"),
        (["trainer.policy.model.lora.alpha=8"], "no effect with lora.rank=0: trainer.policy.model.lora.alpha"),
        (
            ["trainer.policy.model.lora.rank=8", "trainer.policy.model.lora.dropout=0.1"],
            "ratios of the first one scatter",
        ),
        (["trainer.policy.model.lora.rank=8", "generator.enable_lora=true"], "gets adapters merged"),
        (
            [
                "trainer.algorithm.advantage_estimator=gae",
                "trainer.critic.model.path=m",
                "trainer.critic.model.lora.alpha=8",
            ],
            "no effect with trainer.critic.model.lora.rank=0: trainer.critic.model.lora.alpha",
        ),
        (["generator.gpu_memory_utilization=0.5"], "no effect with generator.backend=transformers"),
    ],
)
def test_what_surprises_is_said(load_run, overrides, notice):
    assert any(notice in said for said in load_run(*overrides).notices)


def test_what_only_training_reads_is_no_news_to_an_evaluation(load_run):
    idle = ("generator.n_samples_per_prompt=1", "trainer.ref.model.path=other/model")

    notices = load_run("trainer.epochs=0", "trainer.algorithm.use_kl_loss=true", *idle).notices

    assert not any("group of one" in notice or "reference" in notice for notice in notices)


def test_what_a_preset_sets_is_not_called_without_effect(load_run):
    notices = load_run("+experiment=demo").notices

    assert not any("no effect" in notice for notice in notices)


def test_a_function_of_somebody_else_may_read_every_option(load_run):
    notices = load_run(
        "trainer.algorithm.advantage_estimator=mine:credit",
        "trainer.algorithm.policy_loss_type=mine:loss",
        "trainer.algorithm.gamma=0.9",
        "trainer.algorithm.grpo_singleton=raw_reward",
        "trainer.algorithm.sapo.tau_pos=2.0",
    ).notices

    assert not any("no effect" in notice for notice in notices)
