"""What is advised where training does not fit into memory: the smallest change first, each one a change."""

import re

from tetrad_config import load
from tetrad_learner.rank.memory_advice import advice, size_that_fits
from tetrad_learner.trainer.shortage import Lowered, Pass


def of(*overrides: str, device: str) -> list[str]:
    config = load(["+experiment=demo", *overrides], environ={}).config
    return advice(config, device=device).removeprefix("set ").split(", or ")


def test_what_is_on_already_is_not_advised() -> None:
    off = of("trainer.gradient_checkpointing=false", "trainer.policy.fsdp_config.cpu_offload=false", device="cuda")
    on = of("trainer.gradient_checkpointing=true", "trainer.policy.fsdp_config.cpu_offload=true", device="cuda")

    assert off[:2] == ["trainer.gradient_checkpointing=true", "trainer.policy.fsdp_config.cpu_offload=true"]
    assert [change for change in off if change not in on] == off[:2]


def test_on_a_cpu_nothing_is_offloaded_to_it() -> None:
    assert not any("cpu_offload" in change for change in of(device="cpu"))


def test_every_override_that_is_advised_can_be_loaded() -> None:
    for change in of("trainer.gradient_checkpointing=false", device="cpu"):
        word = re.sub(r" \(now \d+\)$", "", change)
        if "policy_num_gpus_per_node" not in word:
            load(["+experiment=demo", word], environ={})


def test_the_size_that_fits_is_an_override() -> None:
    lowered = Lowered(of=Pass.TRAIN, counts_tokens=False, before=8, after=4, reason="")

    assert size_that_fits(lowered) == "trainer.micro_train_batch_size_per_gpu=4"
