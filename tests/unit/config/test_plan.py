"""The arithmetic of a run, before anything loads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_config import ConfigError, RunConfig, num_parameters, plan


def test_the_tutorials_numbers(load_tutorial):
    config = load_tutorial().config

    worked_out = plan(config, None, parameters=num_parameters(config.trainer.policy.model.path))

    assert worked_out.ranks == worked_out.rollout_replicas == 4
    assert (worked_out.train_rows, worked_out.validation_rows) == (7473, 1319)
    assert (worked_out.batch.samples, worked_out.batch.samples_per_rank) == (1024, 256)
    assert (worked_out.batch.mini_batches, worked_out.batch.mini_batch_samples) == (4, 256)
    assert (worked_out.batch.micro_batches, worked_out.batch.micro_batch_samples) == (8, 8)
    assert worked_out.batch.optimizer_steps == 4
    assert (worked_out.length.steps_per_epoch, worked_out.length.steps) == (29, 290)
    assert worked_out.length.optimizer_steps == 1160
    assert worked_out.length.evaluations == 59
    assert worked_out.storage.checkpoints_written == 29
    assert worked_out.storage.checkpoints_kept == 29
    assert worked_out.storage.checkpoint_bytes == 7_000_000_000


def test_given_rows_win_over_known_ones(load_tutorial):
    assert plan(load_tutorial().config, 1000).length.steps_per_epoch == 3


def test_unknown_rows_leave_the_length_unknown(load_run):
    worked_out = plan(load_run("data.train_data=my.parquet").config, None)

    assert worked_out.train_rows is None
    assert worked_out.length.steps_per_epoch is None
    assert worked_out.length.steps is None


def test_max_steps_bounds_the_run_even_where_rows_are_unknown(load_run):
    worked_out = plan(load_run("+experiment=demo").config, None)

    assert worked_out.length.steps == 120
    assert worked_out.length.evaluations == 2
    assert worked_out.storage.checkpoints_written == 3


def test_the_best_checkpoint_takes_its_room_beside_the_newest_and_the_one_being_written(load_tutorial):
    limited = plan(load_tutorial("trainer.max_ckpts_to_keep=2").config, None, parameters=10)
    newest_only = ("trainer.max_ckpts_to_keep=2", "trainer.best_ckpt_metric=null")
    without_best = plan(load_tutorial(*newest_only).config, None, parameters=10)

    assert limited.storage.checkpoints_kept == 3
    assert limited.storage.disk_bytes == 4 * limited.storage.checkpoint_bytes
    assert "the newest 2 and the best by eval/all/mean_reward of 29 checkpoints stay" in " ".join(limited.notices)
    assert without_best.storage.disk_bytes == 3 * without_best.storage.checkpoint_bytes


def test_data_without_a_row_is_refused_by_the_names_of_its_files(load_run):
    with pytest.raises(ConfigError, match=r"data\.train_data: no rows in a\.jsonl, b\.jsonl"):
        plan(load_run("data.train_data=[a.jsonl,b.jsonl]").config, 0)


def test_a_batch_larger_than_the_data_is_refused(load_run):
    with pytest.raises(ConfigError, match=r"1024 prompts per step is more than the 100 rows .* set it to 100 or less"):
        plan(load_run().config, 100)


def test_no_epochs_means_evaluation_only(load_run):
    worked_out = plan(load_run("trainer.epochs=0").config, 10)

    assert (worked_out.length.steps, worked_out.length.evaluations) == (0, 1)
    assert worked_out.storage.checkpoints_written == 0


def test_an_interval_of_minus_one_still_writes_the_last_checkpoint(load_run):
    worked_out = plan(load_run("trainer.ckpt_interval=-1", "trainer.eval_interval=-1").config, 10_240)

    assert worked_out.storage.checkpoints_written == 1
    assert worked_out.length.evaluations == 1


def test_a_token_budget_leaves_the_number_of_micro_batches_open(load_run):
    batch = plan(load_run("trainer.max_tokens_per_microbatch=8192").config, 10_240).batch

    assert (batch.micro_batches, batch.micro_batch_tokens) == (None, 8192)


def test_update_epochs_multiply_optimizer_steps(load_run):
    assert plan(load_run("trainer.update_epochs_per_batch=3").config, 10_240).batch.optimizer_steps == 12


def test_adapters_leave_the_base_without_gradient_and_moments(load_run):
    config = load_run("trainer.policy.model.lora.rank=8", "trainer.bf16=false", "generator.model_dtype=float32").config

    storage = plan(config, 10_240, parameters=1_000_000, adapter_parameters=10_000).storage

    assert storage.rank_bytes == 4 * 1_000_000 + 16 * 10_000
    assert storage.checkpoint_bytes == 4 * 1_000_000 + (4 + 12) * 10_000
    assert storage.trained_parameters == 10_000


def test_adapters_of_unknown_size_leave_sizes_unknown(load_run):
    storage = plan(load_run("trainer.policy.model.lora.rank=8").config, 10_240, parameters=1_000_000).storage

    assert (storage.rank_bytes, storage.checkpoint_bytes, storage.disk_bytes) == (None, None, None)


def test_sampled_evaluation_counts(load_run):
    config = load_run("trainer.eval_sampled_n=4").config

    assert plan(config, 10_240, num_validation_rows=100).length.samples_per_evaluation == 500


def test_left_over_rows_are_said():
    assert plan(RunConfig(), 1500).notices[0] == "476 of 1,500 prompts are left over in each epoch (batches of 1024)"


@given(
    mini=st.integers(1, 32),
    minis=st.integers(1, 8),
    group=st.integers(1, 16),
    epochs=st.integers(1, 5),
    rows=st.integers(1, 100_000),
)
def test_the_sums_agree(mini, minis, group, epochs, rows):
    config = RunConfig.model_validate(
        {
            "trainer": {
                "train_batch_size": mini * minis,
                "policy_mini_batch_size": mini,
                "epochs": epochs,
                "max_ckpts_to_keep": -1,
            },
            "generator": {"n_samples_per_prompt": group},
        }
    )
    if rows < mini * minis:
        return

    worked_out = plan(config, rows, parameters=10)

    length, batch, storage = worked_out.length, worked_out.batch, worked_out.storage
    assert length.samples == length.steps * batch.samples == length.steps * batch.prompts * group
    assert length.steps * batch.prompts <= epochs * rows
    assert batch.micro_batches * batch.micro_batch_samples * batch.mini_batches == batch.samples_per_rank
    assert storage.checkpoints_kept == storage.checkpoints_written == -(-length.steps // 10)
    assert storage.disk_bytes == storage.checkpoints_written * storage.checkpoint_bytes
