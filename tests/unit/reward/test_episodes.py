import pytest

from tetrad_reward.episodes import (
    TRANSITIONS,
    Admit,
    EpisodeEvent,
    Episodes,
    EpisodeState,
    Join,
    Refuse,
    Repeat,
    Score,
    Wait,
)


class FakeClock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def table(clock):
    return Episodes(max_episodes=4, idle_s=60.0, clock=clock)


def opened(table, *episodes, content="row"):
    assert table.open(episodes, content=content) == Admit()
    table.opened(episodes, "prompts")
    return table


def answer(table, episode, turn, action, reply, event=EpisodeEvent.ANSWERED):
    assert table.ask(episode, turn=turn, action=action) == Score()
    table.answered(episode, reply, event=event)


def test_turns_are_scored_in_order_and_once(table):
    opened(table, "a")

    answer(table, "a", 0, "x", "first")
    answer(table, "a", 1, "y", "second", EpisodeEvent.ENDED)

    assert table.ask("a", turn=0, action="x") == Repeat("first")
    assert table.ask("a", turn=1, action="y") == Repeat("second")
    assert table.statistics().repeated == 2


def test_a_gap_is_refused(table):
    opened(table, "a")

    verdict = table.ask("a", turn=1, action="x")

    assert isinstance(verdict, Refuse)
    assert "turn 0 is next" in verdict.reason


@pytest.mark.parametrize("turn", [-1, 5])
def test_no_turn_out_of_range_is_scored(table, turn):
    opened(table, "a")

    assert isinstance(table.ask("a", turn=turn, action="x"), Refuse)


def test_a_turn_being_graded_is_waited_for_and_not_graded_twice(table):
    opened(table, "a")
    table.ask("a", turn=0, action="x")

    assert table.ask("a", turn=0, action="x") == Wait()


def test_a_repeated_turn_with_another_action_is_refused(table):
    opened(table, "a")
    table.ask("a", turn=0, action="x")

    assert isinstance(table.ask("a", turn=0, action="y"), Refuse)
    table.answered("a", "reply", event=EpisodeEvent.ANSWERED)
    assert isinstance(table.ask("a", turn=0, action="y"), Refuse)


@pytest.mark.parametrize("event", [EpisodeEvent.ENDED, EpisodeEvent.FAILED])
def test_an_episode_that_ended_takes_no_further_turn(table, event):
    opened(table, "a")
    answer(table, "a", 0, "x", "reply", event)

    assert isinstance(table.ask("a", turn=1, action="y"), Refuse)
    assert table.num_unfinished == 0


def test_a_turn_before_the_episode_is_open_is_refused(table):
    table.open(("a",), content="row")

    assert isinstance(table.ask("a", turn=0, action="x"), Refuse)


def test_an_unknown_episode_is_refused(table):
    assert isinstance(table.ask("a", turn=0, action="x"), Refuse)


def test_a_repeated_opening_joins_the_first(table):
    table.open(("a", "b"), content="row")

    assert table.open(("a", "b"), content="row") == Join(None)
    table.opened(("a", "b"), "prompts")
    assert table.open(("a", "b"), content="row") == Join("prompts")
    assert table.statistics().opened == 2


@pytest.mark.parametrize(("episodes", "content"), [(("a", "b"), "other"), (("a",), "row"), (("a", "c"), "row")])
def test_ids_are_never_reused_for_something_else(table, episodes, content):
    opened(table, "a", "b")

    assert isinstance(table.open(episodes, content=content), Refuse)


@pytest.mark.parametrize("episodes", [(), ("a", "a")])
def test_an_opening_needs_distinct_ids(table, episodes):
    assert isinstance(table.open(episodes, content="row"), Refuse)


def test_the_number_of_episodes_is_bounded_and_all_or_none_are_taken(table):
    opened(table, "a", "b", "c")

    verdict = table.open(("d", "e"), content="row")

    assert isinstance(verdict, Refuse)
    assert "at most 4" in verdict.reason
    assert (table.room, table.statistics().held) == (1, 3)


def test_ended_episodes_give_way_to_new_ones_oldest_end_first(table):
    opened(table, "a", "b", "c", "d")
    for name in ("b", "a", "c"):
        answer(table, name, 0, "x", name, EpisodeEvent.ENDED)

    assert table.room == 3
    opened(table, "e", "f", content="next")

    assert isinstance(table.ask("b", turn=0, action="x"), Refuse)
    assert isinstance(table.ask("a", turn=0, action="x"), Refuse)
    assert table.ask("c", turn=0, action="x") == Repeat("c")
    assert table.statistics().held == 4


def test_a_silent_episode_expires(table, clock):
    opened(table, "a")
    clock.now = 61.0

    assert table.expire() == ("a",)
    assert isinstance(table.ask("a", turn=0, action="x"), Refuse)


def test_any_message_about_an_episode_keeps_it(table, clock):
    opened(table, "a", "b", content="one")
    opened(table, "c", content="two")
    clock.now = 50.0
    table.open(("a", "b"), content="one")
    table.ask("c", turn=7, action="gap")
    clock.now = 100.0

    assert table.expire() == ()


def test_an_episode_at_work_does_not_expire(table, clock):
    table.open(("a",), content="row")
    opened(table, "b")
    table.ask("b", turn=0, action="x")
    clock.now = 1000.0

    assert table.expire() == ()


def test_a_closed_episode_is_forgotten_and_its_late_answer_let_go(table):
    opened(table, "a")
    table.ask("a", turn=0, action="x")

    assert table.close(("a", "unknown")) == ("a",)
    table.answered("a", "late", event=EpisodeEvent.ENDED)
    assert table.room == 4


def test_the_table_names_every_way_out_of_work():
    grading = {event for state, event in TRANSITIONS if state is EpisodeState.GRADING}

    assert grading == {EpisodeEvent.ANSWERED, EpisodeEvent.ENDED, EpisodeEvent.FAILED}
