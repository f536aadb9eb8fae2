"""What a process says of itself is read from its pages."""

import pytest

from tetrad_cli.launch.probe import Page
from tetrad_cli.observed import weight_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (b"tetrad_rollout_weight_version 12.0\n", 12),
        (b'x 1\ntetrad_learner_weight_version{run="a"} 3.0\n', 3),
        (b"tetrad_broadcast_newest_version 4.0\n", 4),
        (b"# HELP tetrad_rollout_weight_version v\n", None),
        (b"", None),
    ],
)
def test_the_weight_version_is_read_from_the_metrics(text, version):
    assert weight_version(Page(200, text)) == version


def test_no_page_has_no_version():
    assert weight_version(None) is None
