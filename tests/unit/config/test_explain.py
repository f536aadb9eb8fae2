"""Messages: each has the value, the limit and what was probably meant."""

import pytest


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generator.gpu_memory_utilization=1.5", "1.5 is more than the limit 1.0"),
        ("generator.gpu_memory_utilization=0", "0 must be more than 0.0"),
        ("trainer.train_batch_size=0", "0 is less than the limit 1"),
        ("trainer.policy.optimizer_config.adam_betas=[0.9,1.0]", "1.0 must be less than 1.0"),
        ("trainer.epochs=ten", 'must be a whole number; got the text "ten"'),
        ("trainer.epochs=1.5", "must be a whole number; got the number 1.5"),
        ("trainer.epochs=null", "must be a whole number; got nothing (null)"),
        ("trainer.epochs=yes", "must be a whole number; got the boolean true"),
        ("trainer.bf16=1", "must be true or false; got the number 1"),
        ("trainer.bf16=maybe", 'must be true or false; got the text "maybe"'),
        ("trainer.policy.optimizer_config.lr=true", "must be a number; got the boolean true"),
        ("data.train_data={a: 1}", "must be a list; got {'a': 1}"),
        ("trainer.policy=3", "is a section with keys of its own; got the number 3"),
        ("trainer.ckpt_interval=0", "must be at least 1, or -1 for never; got the number 0"),
        ("generator.sampling_params.top_k=0", "must be at least 1, or -1 for all tokens; got the number 0"),
        ("resources.threads_per_process=many", 'must be at least 1, or auto; got the text "many"'),
        ("resources.threads_per_process=0", "must be at least 1, or auto; got the number 0"),
        ("environment.gsm8k.mode=boxd", '"boxd" is none of strict, boxed, flexible; did you mean boxed?'),
        ("trainer.resume_mode=newest", '"newest" is none of none, latest, from_path'),
        (
            "trainer.logger=wandbb",
            '"wandbb" is none of console, tensorboard, wandb, mlflow, trackio, swanlab; did you mean wandb?',
        ),
        ("trainer.lr=3", "unknown key; did you mean trainer.policy.optimizer_config.lr?"),
        ("trainer.algorithm.kl_los_coef=0.1", "unknown key; did you mean trainer.algorithm.kl_loss_coef?"),
        ("zzz=1", "unknown key"),
    ],
)
def test_a_wrong_value_is_explained(problems_of, override, message):
    (problem,) = problems_of(override)

    assert problem.partition(": ")[2] == f"{message} (command line)"


def test_a_misspelt_section_is_corrected_for_the_keys_below_it(problems_of):
    assert problems_of(text="trainer: {policy: {optimzer_config: {lr: 1.0, weight_decay: 0.1}}}") == [
        "trainer.policy.optimzer_config.lr: unknown key; did you mean trainer.policy.optimizer_config.lr? (run.yaml)",
        "trainer.policy.optimzer_config.weight_decay: unknown key; did you mean "
        "trainer.policy.optimizer_config.weight_decay? (run.yaml)",
    ]


@pytest.mark.parametrize(("word", "boolean"), [("yes", "true"), ("on", "true"), ("no", "false"), ("off", "false")])
def test_a_yaml_boolean_where_text_is_meant_says_to_quote_it(problems_of, word, boolean):
    (problem,) = problems_of(f"trainer.run_name={word}")

    assert f"must be text; got the boolean {boolean}. YAML reads" in problem
    assert "for text write quotes, as in 'trainer.run_name=\"" in problem


def test_a_yaml_number_where_text_is_meant_says_to_quote_it(problems_of):
    (problem,) = problems_of("trainer.run_name=0123")

    assert "must be text; got the number 83. YAML reads unquoted digits as numbers" in problem


@pytest.mark.parametrize("name", ["a/b", "../up", "", "-x", "a b", "x" * 129])
def test_a_run_name_that_is_no_folder_name_is_refused(problems_of, name):
    assert problems_of(f'trainer.run_name="{name}"')


def test_a_list_item_is_named_by_its_position(problems_of):
    assert problems_of("data.train_data=[a.parquet, 3]") == [
        "data.train_data[1]: must be text; got the number 3. YAML reads unquoted digits as numbers; for text write "
        "quotes, as in 'data.train_data[1]=\"3\"' (command line)"
    ]


def test_a_pair_that_lacks_its_second_says_so(problems_of):
    (problem,) = problems_of("trainer.policy.optimizer_config.adam_betas=[0.9]")

    assert problem.startswith("trainer.policy.optimizer_config.adam_betas[1]: is missing")
