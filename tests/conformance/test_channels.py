"""Memory, ipc and tcp keep the same promises."""

from collections.abc import Iterator

import pytest

from tetrad_testing.conformance.channel import ChannelConformance, IpcSite, MemorySite, Site, TcpSite

SITES = {"memory": MemorySite, "ipc": IpcSite, "tcp": TcpSite}


@pytest.mark.timeout(60)
class TestChannels(ChannelConformance):
    @pytest.fixture(params=SITES)
    async def site(self, request: pytest.FixtureRequest) -> Iterator[Site]:
        # Async, so that ends are closed while their loop still runs.
        with SITES[request.param]() as site:
            yield site
