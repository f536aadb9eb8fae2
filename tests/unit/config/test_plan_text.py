"""The plan as a person reads it."""

from tetrad_config import gpu_uses, plan, render


def test_the_tutorials_plan_says_its_numbers(load_tutorial):
    text = render(plan(load_tutorial().config, None, parameters=500_000_000))

    for expected in (
        "4 trainer ranks, 4 rollouts, 1 reward replica",
        "7,473 for training, 1,319 for evaluation",
        "1,024 = 256 prompts x 4",
        "4 per pass, of 256 samples, 64 per rank",
        "8 per mini-batch and rank, of 8 samples",
        "4 per training step",
        "29 per epoch, 10 epochs, 290 in all",
        "29 written, 29 kept, 7.0 GB each",
        "disk for checkpoints    203.0 GB at most",
        "memory of the host      7.0 GB while a checkpoint is written",
        "note: trainer.max_ckpts_to_keep=-1: no checkpoint is ever removed",
    ):
        assert expected in text


def test_gpus_are_a_table_of_who_uses_them(load_tutorial):
    config = load_tutorial().config
    planned = plan(config, None, parameters=500_000_000)

    lines = render(planned, gpu_uses(config, planned, visible=tuple("7654"))).splitlines()

    row = next(number for number, line in enumerate(lines) if line.startswith("GPU 7"))
    assert lines[row].split(maxsplit=2)[2].startswith("rank 0: policy 2.0 GB, reference 500.0 MB")
    assert lines[row + 1].strip() == (
        "rollout-0: weights 1.0 GB, stage 1.0 GB; weights and KV cache up to 80% of the GPU, by turns"
    )


def test_what_is_trained_of_a_model_with_adapters_is_said(load_run):
    planned = plan(
        load_run("trainer.policy.model.lora.rank=8").config, None, parameters=5_000_000, adapter_parameters=40_960
    )

    assert "parameters              5,000,000, and adapters of 40,960, which are trained" in render(planned)


def test_what_is_unknown_is_called_unknown(load_run):
    text = render(plan(load_run("data.train_data=a.parquet").config, None))

    assert "unknown for training" in text
    assert "unknown per epoch, 1 epochs, unknown in all" in text


def test_an_evaluation_says_that_it_trains_nothing(load_run):
    assert "none: evaluation only" in render(plan(load_run("trainer.epochs=0").config, None))
