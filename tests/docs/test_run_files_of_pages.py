"""YAML on pages is accepted as a run file, key by key and value by value."""

import pytest
import yaml

from docs.blocks import blocks_of
from docs.pages import FIRST_READ, OTHERS, found, named
from tetrad_config import load
from tetrad_config.errors import ConfigError
from tetrad_config.run import RunConfig

BLOCKS = [
    block
    for page in found(*FIRST_READ, *OTHERS)
    for block in blocks_of(page)
    if block.language == "yaml" and yaml.safe_load(block.text).keys() & RunConfig.model_fields.keys()
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{named(block.page)}:{block.line}")
def test_the_block_is_accepted(block, tmp_path):
    (tmp_path / "page.yaml").write_text(block.text, encoding="utf-8")

    # Some keys are SGLang's alone.
    overrides = ["generator.backend=sglang"] if "engine_init_kwargs" in block.text else []

    assert load(overrides, config_path=tmp_path, config_name="page", environ={"HOME": "/home/somebody"}).config


def test_a_block_with_a_misspelt_key_is_refused(tmp_path):
    (tmp_path / "page.yaml").write_text("trainer:\n  max_stepps: 3\n")

    with pytest.raises(ConfigError, match="max_steps"):
        load([], config_path=tmp_path, config_name="page", environ={})
