"""Promises of the view on engines."""

from tetrad_broadcaster.rights import Reader
from tetrad_broadcaster.subscribers import MAX_SUBSCRIBERS, Standing, Subscribers
from tetrad_weights.owners import Process
from tetrad_wire.ids import Incarnation, PolicyVersion


def a_reader(name: str = "r0", *, pid: int = 0) -> Reader:
    return Reader(Incarnation(name), name, Process(pid, 1) if pid else None)


def test_an_engine_is_behind_until_it_has_read_the_newest():
    subscribers = Subscribers()
    subscribers.asked(a_reader())
    assert subscribers.standings(PolicyVersion(2)) == {Standing.BEHIND: 1}

    subscribers.read(a_reader(), PolicyVersion(2))
    assert subscribers.standings(PolicyVersion(2)) == {Standing.CURRENT: 1}
    assert subscribers.standings(PolicyVersion(3)) == {Standing.BEHIND: 1}
    assert subscribers.lags(PolicyVersion(5)) == {"r0": 3}


def test_a_quarantined_engine_is_named_until_it_asks_again():
    subscribers = Subscribers()
    subscribers.asked(a_reader())
    subscribers.quarantine(a_reader())
    assert subscribers.quarantined_replicas() == ["r0"]

    subscribers.asked(a_reader())
    assert subscribers.quarantined_replicas() == []


def test_what_it_has_read_before_survives_asking_again():
    subscribers = Subscribers()
    subscribers.asked(a_reader())
    subscribers.read(a_reader(), PolicyVersion(2))
    subscribers.asked(a_reader())

    assert subscribers.lags(PolicyVersion(3)) == {"r0": 1}


def test_the_dead_are_forgotten():
    subscribers = Subscribers()
    subscribers.asked(a_reader("r0", pid=1))
    subscribers.asked(a_reader("r1", pid=2))

    subscribers.forget_dead(lambda process: process.pid == 2)

    assert set(subscribers.lags(None)) == {"r1"}


def test_their_number_is_bounded():
    subscribers = Subscribers()
    for number in range(MAX_SUBSCRIBERS + 3):
        subscribers.asked(a_reader(f"r{number}"))

    assert subscribers.standings(None).total() == MAX_SUBSCRIBERS
    assert "r0" not in subscribers.lags(None)
