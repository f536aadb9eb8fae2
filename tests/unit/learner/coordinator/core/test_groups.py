from tetrad_learner.coordinator.core.groups import MAX_OUTDATED, GroupBook
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_wire.ids import Token
from tetrad_wire.messages.leases import Lane


def a_book(num_groups: int) -> GroupBook:
    book = GroupBook(Outcome())
    for _ in range(num_groups):
        book.draw(2)
    return book


def ready(book: GroupBook, *, now: float = 0.0, limit: int = 10) -> list[int]:
    return [group.key.draw for group in book.ready(Lane.TRAIN, now, limit=limit)]


def test_groups_are_ready_in_the_order_of_their_draws() -> None:
    book = a_book(4)

    assert ready(book, limit=3) == [0, 1, 2]


def test_a_group_that_got_no_lease_keeps_its_place() -> None:
    book = a_book(3)
    first, second, _third = book.ready(Lane.TRAIN, 0.0, limit=3)

    book.assign(second, Token(1))

    assert ready(book) == [0, 2]
    assert first.token is None


def test_a_group_whose_lease_is_over_is_ready_again_once() -> None:
    book = a_book(2)
    first = book.ready(Lane.TRAIN, 0.0, limit=1)[0]

    for token in (1, 2):
        book.assign(first, Token(token))
        book.release(first)

    assert ready(book) == [0, 1]


def test_back_off_keeps_a_group_waiting_and_lets_others_pass() -> None:
    book = a_book(2)
    book.ready(Lane.TRAIN, 0.0, limit=1)[0].not_before = 5.0

    assert ready(book, now=4.9) == [1]
    assert ready(book, now=5.0) == [0, 1]


def test_groups_that_are_leased_as_soon_as_they_are_drawn_leave_nothing_behind() -> None:
    book = a_book(0)
    for token in range(10 * MAX_OUTDATED):
        book.assign(book.draw(2), Token(token))

    waiting = book.draw(2)

    assert ready(book) == [waiting.key.draw]
    assert len(book._queues[Lane.TRAIN]) <= MAX_OUTDATED + 2
