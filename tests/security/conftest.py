"""Services that all tests of this folder share: they are attacked, and go on."""

from collections.abc import Iterator

import pytest

from security.site import Site
from tetrad_transport.keys import KeyRole
from tetrad_transport.keys.folder import KeyFolder


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("security")
    keys = KeyFolder(folder / "keys")
    keys.init()
    keys.add(KeyRole.ROLLOUT, "rollout-7")
    site = Site(folder, keys)
    try:
        site.start()
        yield site
    finally:
        site.stop()
