"""From the run's configuration to what an engine is made from."""

import pytest

from tetrad_config import RunConfig
from tetrad_rollout.engine_settings import server_options


@pytest.mark.parametrize("policy", ["flush", "keep"])
def test_what_becomes_of_cached_keys_at_an_update_is_the_run_files_word(policy: str) -> None:
    config = RunConfig.model_validate({"generator": {"kv_cache_policy": policy}})

    assert server_options(config, is_colocated=False).cache_policy.value == policy


@pytest.mark.parametrize(("lease", "sync", "expected"), [(200.0, 120.0, 200.0), (60.0, 120.0, 120.0), (5.0, 5.0, 60.0)])
def test_a_server_ends_itself_when_its_leases_and_its_weights_have_been_given_up(lease, sync, expected) -> None:
    generator = {"lease_progress_timeout": lease, "weight_sync_timeout": sync}
    config = RunConfig.model_validate({"generator": generator, "trainer": {"stall_timeout": 900.0}})

    options = server_options(config, is_colocated=False)

    assert (options.step_timeout_s, options.group_timeout_s) == (expected, 900.0)
