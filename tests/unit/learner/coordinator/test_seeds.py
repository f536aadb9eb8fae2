from hypothesis import given
from hypothesis import strategies as st

from tetrad_learner.coordinator.seeds import seed_of

IDENTITY = st.lists(st.integers(0, 2**40) | st.text("abcdef-._/0123456789", max_size=8), min_size=1, max_size=4).map(
    tuple
)


def test_seeds_are_the_same_in_every_process() -> None:
    assert seed_of(42, 7, 0) == 6019873527739219222
    assert seed_of(42, "eval", "gsm8k", 3, 1) == 2769614425249177157


@given(one=IDENTITY, other=IDENTITY)
def test_different_identities_have_different_seeds(one, other) -> None:
    assert (seed_of(*one) == seed_of(*other)) == (one == other)


@given(IDENTITY)
def test_a_seed_fits_a_signed_word(identity) -> None:
    assert 0 <= seed_of(*identity) < 2**63


def test_a_number_is_not_its_text() -> None:
    assert seed_of(7) != seed_of("7")
    assert seed_of(1, 23) != seed_of(12, 3)
