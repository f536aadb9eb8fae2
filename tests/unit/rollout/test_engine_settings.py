"""From the run's configuration to what an engine is made from."""

import pytest

from tetrad_config import RunConfig
from tetrad_rollout.engine_settings import server_options


@pytest.mark.parametrize("policy", ["flush", "keep"])
def test_what_becomes_of_cached_keys_at_an_update_is_the_run_files_word(policy: str) -> None:
    config = RunConfig.model_validate({"generator": {"kv_cache_policy": policy}})

    assert server_options(config, is_colocated=False).cache_policy.value == policy
