"""A replica that cannot have its weights by collectives ends before it loads a model, and names both ends and why."""

import asyncio
import os
import sys

import pytest
from integration.weight_site import SOON_S, Site, a_site

from tetrad_runtime.exits import ExitCode

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


async def started(site: Site, **variables: str) -> tuple[int, str]:
    """How a rollout service ends that is told to take weights by collectives, and what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tetrad_rollout"),
        env=environment
        | {
            "TETRAD_RUN_DIR": str(site.folder),
            "TETRAD_COORDINATOR": site.registry.listener.endpoint,
            "TETRAD_BROADCASTER": site.endpoint,
            "TETRAD_WEIGHT_TRANSPORT": "nccl",
            # Of the run file's GPUs none is used: the test of the link comes first, over gloo.
            "CUDA_VISIBLE_DEVICES": "",
            **variables,
        },
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    said = await asyncio.wait_for(process.stderr.read(), SOON_S)
    return await asyncio.wait_for(process.wait(), SOON_S), said.decode()


async def test_variables_that_differ_between_replica_and_broadcaster():
    async with a_site() as site:
        code, said = await started(site, NCCL_PROTO="LL")

        assert code == ExitCode.ENVIRONMENT, said
        assert f"rollout-0 and the broadcaster at {site.endpoint}" in said
        assert "NCCL_PROTO is unset at the sender and LL at the receiver" in said


async def test_an_address_of_the_broadcaster_that_leads_nowhere():
    # Of a link, without the interface that it is of: no packet leaves.
    async with a_site(group_host="fe80::1") as site:
        code, said = await started(site)

        assert code == ExitCode.PEER_LOST, said
        assert f"rollout-0 and the broadcaster at {site.endpoint}" in said
        assert "broke in connect" in said
        assert "the sender waits at fe80::1 port" in said
        assert "TETRAD_GROUP_HOST" in said
