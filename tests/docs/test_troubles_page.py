"""What the page on troubles says of the tutorial's keys is so."""

from tetrad_cli.troubles.catalog import IMPOSSIBLE
from tetrad_config.aliases import ALIASES
from tetrad_config.schema import fields


def test_of_the_tutorial_s_four_keys_two_are_aliases_and_two_are_keys():
    (said,) = [one for one in IMPOSSIBLE if "`ckpt_dir`, `lambda_`, `weight_sync_timeout` and" in one.elsewhere]

    assert "The first two are aliases" in said.why
    assert {"trainer.ckpt_dir", "trainer.algorithm.lambda_"} <= ALIASES.keys()
    assert {"generator.weight_sync_timeout", "generator.enable_lora"} <= set(fields())
