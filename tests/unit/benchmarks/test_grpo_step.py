import json
from pathlib import Path

import pytest
from grpo_peer_tetrad import overrides, read_steps
from grpo_setting import PROMPTS, Setting, reward
from grpo_step import Pair, summary

from tetrad_config import load

SETTING = Setting(num_steps=3)


def test_our_side_is_told_the_same_as_the_other(tmp_path: Path):
    words = overrides(tmp_path, SETTING, rows=tmp_path / "rows.jsonl", run_dir=tmp_path / "run")

    config = load(words, environ={}).config

    trainer, generator = config.trainer, config.generator
    assert trainer.train_batch_size == trainer.policy_mini_batch_size == len(PROMPTS) == 8
    assert generator.n_samples_per_prompt == SETTING.num_samples
    assert generator.sampling_params.max_generate_length == SETTING.max_new_tokens
    assert trainer.micro_train_batch_size_per_gpu == SETTING.micro_batch_size
    assert trainer.policy.optimizer_config.lr == SETTING.learning_rate
    assert config.resources.threads_per_process == SETTING.num_threads
    assert not trainer.algorithm.use_kl_loss
    assert config.reward.implementation is not None
    assert config.reward.implementation.endswith("grpo_setting.py:reward")


def test_the_setting_reaches_the_other_process_whole():
    assert Setting.of(json.loads(json.dumps(SETTING.fields()))) == SETTING


def test_the_reward_differs_between_texts():
    assert {reward("aaaa"), reward("abcd"), reward("")} == {1.0, 4.0, 0.0}


def test_steps_are_read_from_the_run_s_own_metrics(tmp_path: Path):
    timing = {"timing/step": 4.0, "timing/generate": 1.0, "timing/train": 2.0, "timing/publish": 0.5}
    lines = [{"step": 0, "metrics": {"eval/all": 0}}, {"step": 1, "metrics": {**timing, "generate/avg_num_tokens": 64}}]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert read_steps(path) == [{"step_s": 4.0, "generate_s": 1.0, "train_s": 2.0, "publish_s": 0.5, "new_tokens": 64}]


def test_a_ratio_compares_each_turn_with_its_neighbour():
    fast = {"step_s": 1.0, "generate_s": 0.5, "train_s": 0.4, "new_tokens": 64.0}
    slow = {key: 3 * value for key, value in fast.items()}
    memory = {"all_processes": 4.0, "proportional": 3.0, "rank": 1.0, "trl": 2.0}
    pairs = [Pair(ours=[fast], theirs=[slow], memory=memory), Pair(ours=[slow], theirs=[slow], memory=memory)]

    metrics = summary(pairs, batch_size=32)

    assert metrics["samples_per_s_ratio_to_trl"] == pytest.approx(2.0)
    assert metrics["trl_samples_per_s"] == pytest.approx(32 / 3)
    assert metrics["all_processes_sum_of_peak_rss_ratio_to_trl"] == pytest.approx(2.0)
    assert metrics["learner_rank_peak_rss_ratio_to_trl"] == pytest.approx(0.5)
