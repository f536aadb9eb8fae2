import dataclasses

import pytest

from tetrad_config import ConfigError, RunConfig
from tetrad_config.reward_record import (
    Edition,
    RewardRecord,
    changed_keys,
    read_record,
    record_path,
    write_record,
)


def a_config(**reward: object) -> RunConfig:
    return RunConfig.model_validate({"reward": reward})


SWAPPED = RewardRecord(wanted=Edition(number=2)).swapped(
    a_config(), a_config(implementation="new.py:fn", num_workers=4)
)


def test_a_record_survives_the_file(tmp_path) -> None:
    record = dataclasses.replace(SWAPPED, wanted=Edition(number=3, endpoints=("ipc:///node",)))

    write_record(tmp_path, record)

    assert read_record(tmp_path) == record


def test_a_run_that_was_never_swapped_has_no_record(tmp_path) -> None:
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"current": {"number": "1", "endpoints": []}, "wanted": null}'])
def test_a_file_that_is_no_record_is_an_error_that_names_it(tmp_path, text: str) -> None:
    write_record(tmp_path, SWAPPED)
    record_path(tmp_path).write_text(text)

    with pytest.raises(ConfigError, match=r"record\.json"):
        read_record(tmp_path)


def test_the_same_command_goes_on_with_the_swapped_reward() -> None:
    config = SWAPPED.resumed(a_config())

    assert config.reward.implementation == "new.py:fn"
    assert config.reward.num_workers == 4


def test_what_the_command_asks_for_otherwise_since_then_has_the_user_s_word() -> None:
    config = SWAPPED.resumed(a_config(num_workers=2, grade_timeout=5.0))

    assert config.reward.implementation == "new.py:fn"
    assert config.reward.num_workers == 2
    assert config.reward.grade_timeout == 5.0


def test_a_second_swap_remembers_what_the_command_asked_for() -> None:
    third = dataclasses.replace(SWAPPED, wanted=Edition(number=3)).swapped(
        SWAPPED.resumed(a_config()), a_config(implementation="third.py:fn")
    )

    assert third.current.number == 3
    assert third.resumed(a_config()).reward.implementation == "third.py:fn"


def test_numbers_of_editions_grow() -> None:
    assert RewardRecord().next_number == 2
    assert SWAPPED.next_number == 3
    assert dataclasses.replace(SWAPPED, wanted=Edition(number=3)).next_number == 4


def test_changed_keys_are_named() -> None:
    assert changed_keys(a_config(), a_config(num_workers=4)) == ["reward.num_workers"]
