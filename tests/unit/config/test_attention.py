"""Which GPUs attention backends run on, and what is said where one does not."""

import pytest

from tetrad_config.attention import unfit


@pytest.mark.parametrize(
    ("backend", "capability", "runs"),
    [
        ("fa3", (9, 0), True),
        ("fa3", (8, 6), True),
        ("fa3", (7, 5), False),
        ("fa3", (10, 0), False),
        ("flashinfer", (7, 5), True),
        ("flashinfer", (12, 0), True),
        ("flashinfer", (7, 0), False),
        ("of another release", (7, 0), True),
        (None, (7, 0), True),
    ],
)
def test_a_backend_runs_where_it_has_kernels(backend, capability, runs):
    assert (unfit(backend, (capability,)) is None) == runs


def test_the_first_gpu_that_does_not_fit_is_named():
    assert unfit("fa3", ((9, 0), (10, 0), (7, 0))) == (10, 0)
    assert unfit("fa3", ()) is None
