import numpy as np
import pytest
from unit.learner.coordinator.journal_builders import a_journal_sample

from tetrad_learner.coordinator.sample_table import MAX_CHARACTERS, MAX_ROWS, SampleTables, TableRow, rows_of
from tetrad_learner.coordinator.shaping import UNSHAPED, OverlongPunishment, Shaping
from tetrad_testing.builders import a_credit
from tetrad_wire.messages.leases import ChatMessage, Prompt


def a_prompt(draw: int, *, words: str = "2 + 2?") -> Prompt:
    messages = (ChatMessage("system", "be brief"), ChatMessage("user", f"{draw}: {words}"))
    return Prompt(messages=messages, env_class="arithmetic", ground_truth="4", extras={}, uid="u")


def rows(samples, *, shaping: Shaping = UNSHAPED) -> tuple[TableRow, ...]:
    return rows_of(samples, prompt_of=a_prompt, shaping=shaping)


def advantages(tables: SampleTables, step: int) -> list[float | None]:
    return [row.advantage for row in tables.take(step)]


def a_report(sample_index: list[int], found: list[float], **changes):
    arrays = {"sample_index": np.array(sample_index, np.int32), "advantages": np.array(found, np.float32)}
    return a_credit(**arrays | changes)


def test_a_row_shows_every_message_of_the_prompt_and_the_reward_that_training_sees() -> None:
    sample = a_journal_sample(7, 2, num_sampled=4, reward=1.0, response="four")
    shaping = Shaping(punishment=OverlongPunishment(max_tokens=4, buffer_tokens=2))

    (row,) = rows([sample], shaping=shaping)

    assert (row.draw, row.index, row.response) == (7, 2, "four")
    assert row.prompt == "system: be brief\nuser: 7: 2 + 2?"
    assert row.reward == 0.0


def test_a_table_is_bounded_in_rows_and_in_text() -> None:
    samples = [a_journal_sample(draw, 0, response="x" * 10_000) for draw in range(100)]

    shown = rows(samples)

    assert len(shown) == MAX_ROWS
    assert len(shown[0].response) < MAX_CHARACTERS + 50
    assert shown[0].response.endswith("(8000 more characters)")


def test_each_rank_says_what_its_samples_were_worth() -> None:
    tables = SampleTables(interval=1)
    tables.open(1, lineage=1, rows=rows([a_journal_sample(0, index) for index in range(3)]))

    tables.credit(a_report([2, 0], [0.25, -0.5]))
    tables.credit(a_report([1], [np.nan], rank=1))

    assert advantages(tables, 1) == [-0.5, None, 0.25]


def test_samples_beyond_the_table_and_steps_without_one_are_passed_over() -> None:
    tables = SampleTables(interval=1)
    tables.open(1, lineage=1, rows=rows([a_journal_sample(0, 0)]))

    tables.credit(a_report([0, 500], [0.5, 1.0]))
    tables.credit(a_report([0], [9.0], step=2))

    assert advantages(tables, 1) == [0.5]
    assert advantages(tables, 2) == []


def test_a_report_of_an_earlier_attempt_is_dropped() -> None:
    tables = SampleTables(interval=1)
    shown = rows([a_journal_sample(0, 0)])
    tables.open(1, lineage=1, rows=shown)
    tables.open(1, lineage=2, rows=shown)

    tables.credit(a_report([0], [9.0], lineage=1))

    assert advantages(tables, 1) == [None]


@pytest.mark.parametrize("interval", [-1])
def test_tables_can_be_off(interval: int) -> None:
    assert not any(SampleTables(interval=interval).is_due(step) for step in range(1, 50))
