from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_learner.coordinator.core.engines import AWAIT_S, Engine, EngineBook
from tetrad_testing.builders import a_certificate
from tetrad_wire.ids import Incarnation

DIGESTS = ("old", "new")
DEMAND = 8
NAMES = tuple(Incarnation(name) for name in "abcd")


def certify(book: EngineBook, name: Incarnation, digest: str, *, is_draining: bool = False, now: float = 0.0) -> None:
    certificate = a_certificate(incarnation=name, digest=digest)
    book.hear(book.engines[name], certificate=certificate, is_draining=is_draining, now=now)


def a_book(*names: Incarnation, credit: int = 2, digest: str = "new") -> EngineBook:
    book = EngineBook(demand=DEMAND)
    for name in names:
        book.join(name, credit=credit, num_leases=0, now=0.0)
        certify(book, name, digest)
    return book


def test_the_least_loaded_engine_is_chosen() -> None:
    book = a_book(*NAMES[:2])

    book.take(book.engines[NAMES[0]])

    assert book.choose("new", avoided=None, now=0.0) is book.engines[NAMES[1]]


def test_the_avoided_engine_is_chosen_only_where_there_is_no_other() -> None:
    book = a_book(*NAMES[:2])

    assert book.choose("new", avoided=NAMES[0], now=0.0) is book.engines[NAMES[1]]
    book.leave(NAMES[1])
    assert book.choose("new", avoided=NAMES[0], now=0.0) is book.engines[NAMES[0]]


def test_weights_that_are_wanted_again_find_their_engines_again() -> None:
    book = a_book(NAMES[0], digest="old")

    assert book.choose("new", avoided=None, now=0.0) is None
    assert book.room("new", 0.0) == 0
    assert book.choose("old", avoided=None, now=0.0) is book.engines[NAMES[0]]
    assert book.room("old", 0.0) == 2


def taken(book: EngineBook, *, now: float = 0.0) -> Counter[Incarnation]:
    """Take all the work there is to take, and count who took it."""
    counts: Counter[Incarnation] = Counter()
    while book.room("new", now) and (engine := book.choose("new", avoided=None, now=now)) is not None:
        book.take(engine)
        counts[engine.incarnation] += 1
    return counts


def test_the_first_engine_with_new_weights_leaves_the_others_their_share() -> None:
    book = a_book(*NAMES, credit=32, digest="old")
    assert book.room("new", 0.0) == 0

    certify(book, NAMES[0], "new")
    early = taken(book)
    certify(book, NAMES[1], "new")

    assert early == {NAMES[0]: DEMAND / len(NAMES)}
    assert taken(book) == {NAMES[1]: DEMAND / len(NAMES)}


def test_whoever_finishes_early_gets_more_before_the_others_have_the_weights() -> None:
    book = a_book(*NAMES, credit=32, digest="old")
    certify(book, NAMES[0], "new")
    early = taken(book)

    book.give_back(NAMES[0])

    assert early
    assert taken(book) == {NAMES[0]: 1}


def test_an_engine_that_does_not_come_is_not_awaited_for_long() -> None:
    book = a_book(*NAMES[:2], credit=32, digest="old")
    assert book.room("new", 0.0) == 0
    certify(book, NAMES[0], "new", now=10.0)

    held = taken(book, now=10.0 + AWAIT_S)

    assert held == {NAMES[0]: DEMAND / 2}
    assert taken(book, now=10.1 + AWAIT_S) == {NAMES[0]: 32 - DEMAND / 2}


@pytest.mark.parametrize("goes", [EngineBook.leave, lambda book, name: certify(book, name, "old", is_draining=True)])
def test_an_engine_that_goes_is_not_awaited(goes: Callable[[EngineBook, Incarnation], None]) -> None:
    book = a_book(*NAMES[:2], credit=32, digest="old")
    assert book.room("new", 0.0) == 0
    certify(book, NAMES[0], "new")

    goes(book, NAMES[1])

    assert taken(book) == {NAMES[0]: 32}


def test_a_newcomer_that_still_loads_is_awaited_only_where_all_are_newcomers() -> None:
    book = a_book(NAMES[0], credit=32, digest="old")
    book.join(NAMES[1], credit=32, num_leases=0, now=0.0)
    fresh = EngineBook(demand=DEMAND)
    for name in NAMES[:2]:
        fresh.join(name, credit=32, num_leases=0, now=0.0)

    for each in (book, fresh):
        assert each.room("new", 0.0) == 0
        certify(each, NAMES[0], "new")

    assert taken(book) == {NAMES[0]: 32}
    assert taken(fresh) == {NAMES[0]: DEMAND / 2}


operations = st.lists(
    st.tuples(
        st.sampled_from(["join", "certify", "drain", "take", "give_back", "leave"]),
        st.sampled_from(NAMES),
        st.sampled_from(DIGESTS),
        st.integers(0, 3),
    ),
    max_size=60,
)


@given(operations=operations)
def test_a_choice_is_what_a_look_at_all_engines_would_give(operations: list[tuple[str, Incarnation, str, int]]) -> None:
    # Nobody's share is less than its credit.
    book = EngineBook(demand=100)

    for verb, name, digest, number in operations:
        perform(book, verb, name, digest, number)

        avoided = NAMES[number]
        assert book.choose(digest, avoided=avoided, now=0.0) is naive_choice(book, digest, avoided)
        assert book.room(digest, 0.0) == sum(free(engine) for engine in willing(book, digest))


def perform(book: EngineBook, verb: str, name: Incarnation, digest: str, number: int) -> None:
    engine = book.engines.get(name)
    match verb:
        case "join":
            book.join(name, credit=number, num_leases=engine.num_leases if engine else 0, now=0.0)
        case "certify" if engine:
            certify(book, name, digest)
        case "drain" if engine:
            certify(book, name, digest, is_draining=True)
        case "take" if engine and free(engine) > 0:
            book.take(engine)
        case "give_back" if engine and engine.num_leases:
            book.give_back(name)
        case "leave":
            book.leave(name)


def free(engine: Engine) -> int:
    return engine.credit - engine.num_leases


def willing(book: EngineBook, digest: str) -> list[Engine]:
    return [engine for engine in book.certified(digest) if free(engine) > 0 and not engine.is_draining]


def naive_choice(book: EngineBook, digest: str, avoided: Incarnation) -> Engine | None:
    others = [engine for engine in willing(book, digest) if engine.incarnation != avoided]
    candidates = others or willing(book, digest)
    return min(candidates, key=lambda engine: (engine.load, engine.incarnation), default=None)
