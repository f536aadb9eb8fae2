"""Which GPUs each engine gets."""

import pytest

from tetrad_config import gpus_of_engines

SGLANG = "generator.backend=sglang"


@pytest.mark.parametrize(
    ("overrides", "visible", "expected"),
    [
        ([SGLANG, "trainer.placement.colocate_all=true"], "01", (("0",), ("1",))),
        ([SGLANG], "0123", (("1",), ("2",), ("3",))),
        ([SGLANG, "trainer.placement.policy_num_gpus_per_node=2"], "0123", (("2",), ("3",))),
        ([SGLANG, "generator.inference_engine_tensor_parallel_size=2"], "0123", (("1", "2"),)),
        ([SGLANG], "", ()),
        (["generator.backend=transformers"], "01", ()),
    ],
)
def test_engines_follow_the_learner_or_share_its_gpus(load_run, overrides, visible, expected):
    assert gpus_of_engines(load_run(*overrides).config, tuple(visible)) == expected
