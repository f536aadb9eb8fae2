from hypothesis import given
from hypothesis import strategies as st

from tetrad_learner.coordinator.core.engines import Engine, EngineBook
from tetrad_testing.builders import a_certificate
from tetrad_wire.ids import Incarnation

DIGESTS = ("old", "new")
NAMES = tuple(Incarnation(name) for name in "abcd")


def certify(book: EngineBook, name: Incarnation, digest: str, *, is_draining: bool = False) -> None:
    certificate = a_certificate(incarnation=name, digest=digest)
    book.hear(book.engines[name], certificate=certificate, is_draining=is_draining, now=0.0)


def a_book(*names: Incarnation, credit: int = 2, digest: str = "new") -> EngineBook:
    book = EngineBook()
    for name in names:
        book.join(name, credit=credit, num_leases=0, now=0.0)
        certify(book, name, digest)
    return book


def test_the_least_loaded_engine_is_chosen() -> None:
    book = a_book(*NAMES[:2])

    book.take(book.engines[NAMES[0]])

    assert book.choose("new", avoided=None) is book.engines[NAMES[1]]


def test_the_avoided_engine_is_chosen_only_where_there_is_no_other() -> None:
    book = a_book(*NAMES[:2])

    assert book.choose("new", avoided=NAMES[0]) is book.engines[NAMES[1]]
    book.leave(NAMES[1])
    assert book.choose("new", avoided=NAMES[0]) is book.engines[NAMES[0]]


def test_weights_that_are_wanted_again_find_their_engines_again() -> None:
    book = a_book(NAMES[0], digest="old")

    assert book.choose("new", avoided=None) is None
    assert book.room("new") == 0
    assert book.choose("old", avoided=None) is book.engines[NAMES[0]]
    assert book.room("old") == 2


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
    book = EngineBook()

    for verb, name, digest, number in operations:
        perform(book, verb, name, digest, number)

        avoided = NAMES[number]
        assert book.choose(digest, avoided=avoided) is naive_choice(book, digest, avoided)
        assert book.room(digest) == sum(engine.free for engine in willing(book, digest))


def perform(book: EngineBook, verb: str, name: Incarnation, digest: str, number: int) -> None:
    engine = book.engines.get(name)
    match verb:
        case "join":
            book.join(name, credit=number, num_leases=engine.num_leases if engine else 0, now=0.0)
        case "certify" if engine:
            certify(book, name, digest)
        case "drain" if engine:
            certify(book, name, digest, is_draining=True)
        case "take" if engine and engine.free > 0:
            book.take(engine)
        case "give_back" if engine and engine.num_leases:
            book.give_back(name)
        case "leave":
            book.leave(name)


def willing(book: EngineBook, digest: str) -> list[Engine]:
    return [engine for engine in book.certified(digest) if engine.free > 0 and not engine.is_draining]


def naive_choice(book: EngineBook, digest: str, avoided: Incarnation) -> Engine | None:
    others = [engine for engine in willing(book, digest) if engine.incarnation != avoided]
    candidates = others or willing(book, digest)
    return min(candidates, key=lambda engine: (engine.load, engine.incarnation), default=None)
