"""The real SGLang with a share of the GPU that its weights fill: the start is refused in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sglang_site.builders import IS_ON_GPU
from sglang_site.servers import settings_of

from tetrad_rollout.engine.sglang.starting import create
from tetrad_runtime.exits import ConfigFault

pytestmark = [
    pytest.mark.sglang,
    pytest.mark.skipif(not IS_ON_GPU, reason="on a CPU there is no share of a GPU; needs CUDA"),
]


def test_a_share_without_room_for_the_cache_is_a_fault_of_the_configuration(folder: Path) -> None:
    settings = settings_of(folder, extra={"mem_fraction_static": 1e-6})
    settings = replace(settings, server=replace(settings.server, may_sleep=False))

    with pytest.raises(ConfigFault, match=r"holds the weights and no KV cache; set generator\.gpu_memory_utilization"):
        create(settings)
