"""Two hosts for a test, or a reason why there are none."""

from collections.abc import Iterator

import pytest

from multinode.two_hosts import NetworkHost, NoNamespacesError, two_hosts


@pytest.fixture
def hosts() -> Iterator[tuple[NetworkHost, NetworkHost]]:
    """The head and another one."""
    try:
        with two_hosts() as made:
            yield made
    except NoNamespacesError as error:
        pytest.skip(f"no network namespaces on this machine: {error}")
