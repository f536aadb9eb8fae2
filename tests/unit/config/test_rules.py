"""Rules between keys: each message has the numbers, the limit and a fix."""

import pytest

CASES = [
    (
        ["trainer.policy_mini_batch_size=512", "trainer.train_batch_size=256"],
        "trainer.policy_mini_batch_size: 512 prompts is more than trainer.train_batch_size=256; "
        "set trainer.policy_mini_batch_size=256",
    ),
    (
        ["trainer.policy_mini_batch_size=100", "trainer.train_batch_size=256"],
        "trainer.policy_mini_batch_size: 100 does not divide trainer.train_batch_size=256 (remainder 56); "
        "use 64 or 128",
    ),
    (
        ["trainer.placement.policy_num_gpus_per_node=3"],
        "trainer.policy_mini_batch_size: 256 prompts x 5 samples = 1280, not divisible by 3 ranks "
        "(trainer.placement); use 2 or 4 ranks",
    ),
    (
        ["trainer.micro_train_batch_size_per_gpu=7"],
        "trainer.micro_train_batch_size_per_gpu: 7 does not divide the 1280 samples of a mini-batch on one rank "
        "(1280 samples / 1 ranks); use 5 or 8",
    ),
    (
        ["trainer.train_batch_size=2", "trainer.policy_mini_batch_size=2", "generator.n_samples_per_prompt=2",
         "trainer.placement.policy_num_gpus_per_node=4"],
        "trainer.train_batch_size: 2 prompts is less than the 4 ranks; set trainer.train_batch_size=4 or more",
    ),
    (
        ["trainer.max_tokens_per_microbatch=1000"],
        "trainer.max_tokens_per_microbatch: 1000 tokens is less than the longest sample, 1536 = "
        "generator.max_input_length 512 + max_generate_length 1024; set it to 1536 or more",
    ),
    (
        ["generator.max_input_length=1024"],
        "generator.max_input_length: 1024 differs from trainer.max_prompt_length=512; with max_turns=1 the input is "
        "the prompt: leave it out, or set 512",
    ),
    (
        ["generator.max_input_length=256", "generator.max_turns=3"],
        "generator.max_input_length: 256 is less than trainer.max_prompt_length=512; set 512 or more for 3 turns",
    ),
    (
        ["generator.batched=true", "generator.max_turns=3"],
        "generator.batched: one call per lease has a single turn; generator.max_turns is 3; set false",
    ),
    (
        ["trainer.placement.colocate_all=true", "trainer.placement.policy_num_gpus_per_node=2"],
        "trainer.placement.colocate_all: learner and engines share GPUs, but 2 ranks are not 1 engines x 1 GPUs = 1; "
        "set generator.num_inference_engines=2",
    ),
    (
        ["generator.backend=sglang", "trainer.policy.model.lora.rank=8",
         "generator.inference_engine_tensor_parallel_size=2"],
        "generator.inference_engine_tensor_parallel_size: 2 GPUs for each engine: adapters alone are only proven in "
        "engines on one; set generator.enable_lora=false to sync them merged",
    ),
    (
        ["trainer.placement.colocate_all=true", "trainer.policy.optimizer_config.offload_after_step=false"],
        "trainer.policy.optimizer_config.offload_after_step: false would leave moments on GPUs that engines need; "
        "leave it out, or set trainer.placement.colocate_all=false",
    ),
    (
        ["trainer.placement.colocate_all=true", "generator.backend=sglang", "generator.num_inference_engines=2"],
        "trainer.placement.colocate_all: learner and engines share GPUs, but 1 ranks are not 2 engines x 1 GPUs = 2; "
        "set generator.num_inference_engines=1",
    ),
    (
        ["trainer.placement.colocate_all=true", "generator.backend=sglang",
         "trainer.fully_async.max_staleness_steps=2"],
        "trainer.placement.colocate_all: needs max_staleness_steps=0, not 2: on one GPU they take turns; "
        "set trainer.placement.colocate_all=false",
    ),
    (
        ["generator.inference_engine_tensor_parallel_size=2"],
        "generator.inference_engine_tensor_parallel_size: 2 is more than the limit 1 of "
        "generator.backend=transformers; set 1, or use sglang",
    ),
    (
        ["+generator.engine_init_kwargs.attention_backend=fa3"],
        "generator.engine_init_kwargs: attention_backend: these are arguments of SGLang; "
        "generator.backend=transformers takes none; remove them with ~generator.engine_init_kwargs",
    ),
    (
        ["trainer.resume_mode=from_path"],
        "trainer.resume_path: resume_mode=from_path needs it; set trainer.resume_path=…/global_step_N",
    ),
    (
        ["trainer.resume_mode=from_path", "trainer.resume_path=/ckpts/last"],
        "trainer.resume_path: /ckpts/last is not a checkpoint; its last part must be global_step_N, N a number",
    ),
    (
        ["trainer.resume_path=/ckpts/global_step_3"],
        "trainer.resume_path: has no effect with resume_mode=latest; set trainer.resume_mode=from_path or leave it "
        "out",
    ),
    (
        ["trainer.overwrite=true"],
        "trainer.overwrite: would clear what resume_mode=latest resumes from; set trainer.resume_mode=none",
    ),
    (
        ["trainer.epochs=0", "trainer.eval_before_train=false"],
        "trainer.epochs: 0 trains nothing, and nothing is evaluated either; set trainer.epochs=1, or "
        "trainer.eval_before_train=true with data.val_data",
    ),
    (
        ["data.train_data=null"],
        "data.train_data: is empty; name a file, or set trainer.epochs=0 to evaluate only",
    ),
    (
        ["generator.model_name=other/model"],
        "generator.model_name: other/model is not the policy that is trained, Qwen/Qwen2.5-1.5B-Instruct; "
        "leave it out",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "problem"), CASES)
def test_a_contradiction_is_explained_with_numbers_and_a_fix(problems_of, overrides, problem):
    assert problem in problems_of(*overrides)


def test_the_divergence_is_counted_once(problems_of):
    problems = problems_of("trainer.algorithm.use_kl_in_reward=true")

    assert any("set use_kl_loss=false or use_kl_in_reward=false" in problem for problem in problems)


def test_gae_needs_a_critic(problems_of):
    problems = problems_of("trainer.algorithm.advantage_estimator=gae")

    assert any(
        "gae needs a critic; set trainer.critic.model.path=Qwen/Qwen2.5-1.5B-Instruct" in problem
        for problem in problems
    )


def test_maxrl_excludes_a_penalty_in_the_reward(problems_of):
    (problem,) = problems_of(
        "trainer.algorithm.advantage_estimator=maxrl",
        "trainer.algorithm.use_kl_loss=false",
        "trainer.algorithm.use_kl_in_reward=true",
    )

    assert problem.startswith("trainer.algorithm.use_kl_in_reward: the penalty can make a group's mean negative")


def test_importance_sampling_excludes_covariance_losses(problems_of):
    problems = problems_of("trainer.algorithm.use_tis=true", "trainer.algorithm.policy_loss_type=kl_cov")

    assert any("kl_cov cannot be combined with importance sampling" in problem for problem in problems)


LORA = "trainer.policy.model.lora"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["generator.enable_lora=true"],
            "generator.enable_lora: there are no adapters; set trainer.policy.model.lora.rank=32, or leave it out",
        ),
        (
            [f"{LORA}.rank=8", "trainer.update_ref_every_epoch=true"],
            "trainer.update_ref_every_epoch: with trainer.policy.model.lora.rank=8 the reference is the base below the "
            "adapters, which never moves; set false, or lora.rank=0",
        ),
        (
            [f"{LORA}.rank=8", f"{LORA}.target_modules=[]"],
            f"{LORA}.target_modules: is empty, and nothing would be trained; set all-linear",
        ),
        (
            [f"{LORA}.rank=8", f"{LORA}.target_modules=[q_proj, all-linear]"],
            f"{LORA}.target_modules: q_proj, all-linear: all-linear are all of them; leave it out, or the others",
        ),
        (
            ["generator.backend=sglang", f"{LORA}.rank=8", f"{LORA}.target_modules=[q_proj, k_proj]"],
            f"{LORA}.target_modules: k_proj, q_proj: SGLang serves no adapter of these without v_proj; add it, or set "
            "generator.enable_lora=false to sync adapters merged",
        ),
    ],
)
def test_adapters_that_contradict_something_are_explained(problems_of, overrides, problem):
    assert problems_of(*overrides) == [problem]


def test_the_tutorials_section_on_adapters_is_accepted(load_tutorial):
    loaded = load_tutorial(
        f"{LORA}.rank=32",
        f"{LORA}.alpha=32",
        f"{LORA}.target_modules=[q_proj, k_proj, v_proj, o_proj]",
        "trainer.policy.optimizer_config.lr=3.0e-5",
        "generator.enable_lora=true",
        "+generator.engine_init_kwargs.max_lora_rank=64",
    )

    lora = loaded.config.trainer.policy.model.lora
    assert (lora.rank, lora.alpha, lora.target_modules) == (32, 32.0, ("q_proj", "k_proj", "v_proj", "o_proj"))


CORRECTION = "trainer.algorithm.off_policy_correction"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ([f"{CORRECTION}.geo_mask_low=1.2"], "1.2 must be below geo_mask_high=1.01"),
        ([f"{CORRECTION}.product_mask_low=3"], "3 must be below product_mask_high=2"),
        ([f"{CORRECTION}.token_mask_is_threshold_low=0.5"], "the token mask has two bounds and one is null"),
        (["trainer.algorithm.clip_cov.clip_cov_ub=0.5"], "1 must be below clip_cov_ub=0.5"),
        (
            ["trainer.algorithm.use_rollout_logprobs_as_old=true", f"{CORRECTION}.sequence_mask_metric=product"],
            "compares old with rollout log-probs, and use_rollout_logprobs_as_old=true makes them equal",
        ),
        (
            ["trainer.algorithm.use_tis=true", f"{CORRECTION}.tis_ratio_type=sequence"],
            "means tis_ratio_type=token, and tis_ratio_type=sequence is set",
        ),
        (
            [f"{CORRECTION}.tis_ratio_type=token", "trainer.algorithm.policy_loss_type=rollout_is"],
            "rollout_is cannot be combined with importance sampling",
        ),
        (
            ["trainer.algorithm.advantage_estimator=gae", "trainer.critic.model.path=m", "trainer.train_batch_size=32"],
            "256 prompts is more than trainer.train_batch_size=32; set trainer.critic_mini_batch_size=32",
        ),
    ],
)
def test_settings_of_the_algorithm_that_exclude_each_other_are_explained(problems_of, overrides, problem):
    assert any(problem in line for line in problems_of(*overrides))


def test_a_token_budget_replaces_the_micro_batch_rule(load_run):
    load_run("trainer.micro_train_batch_size_per_gpu=7", "trainer.max_tokens_per_microbatch=4096")


def test_the_fixes_that_a_message_names_work(load_run):
    load_run("trainer.policy_mini_batch_size=64", "trainer.train_batch_size=256")
    load_run("trainer.placement.policy_num_gpus_per_node=4")
    load_run("trainer.micro_train_batch_size_per_gpu=5")
    load_run("trainer.resume_mode=from_path", "trainer.resume_path=/ckpts/global_step_3")
    load_run("trainer.resume_mode=none", "trainer.overwrite=true")
