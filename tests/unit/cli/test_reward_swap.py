import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from tetrad_cli.catalog import summaries
from tetrad_cli.commands import reward
from tetrad_cli.fleet import fleet, reward_role
from tetrad_cli.launch.control import Request
from tetrad_cli.launch.desk import RefusedError
from tetrad_cli.launch.probe import Page
from tetrad_cli.places import private_places
from tetrad_cli.prepared import prepare
from tetrad_cli.reward_resumed import with_current_reward
from tetrad_cli.reward_status import registered
from tetrad_cli.reward_swap import RewardSwap, current_edition
from tetrad_cli.run_options import RunOptions
from tetrad_config import RunConfig, dump_resolved
from tetrad_config.reward_record import Edition, RewardRecord, write_record

PAGE = Page(
    200,
    b"# HELP tetrad_learner_reward_edition x\n"
    b"tetrad_learner_reward_edition 2.0\n"
    b'tetrad_learner_reward_replicas{standing="current"} 3.0\n'
    b'tetrad_learner_reward_replicas{standing="standing_by"} 1.0\n',
)


def a_swap(run_dir: Path, *, is_clear_tcp_allowed: bool = False) -> RewardSwap:
    (run_dir / "config.yaml").write_text(dump_resolved(RunConfig()))
    return RewardSwap(run_dir=run_dir, where=private_places(Path("/run/x")), is_clear_tcp_allowed=is_clear_tcp_allowed)


class NoSupervisor:
    """Of a launcher that must not be touched."""

    def holding(self, _role: str) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["reward.implementation=my.py"], "reward.implementation"),
        (["reward.implementaton=my.py:fn"], "did you mean"),
        (["environment.env_class=arithmetic"], "name the environment with --env"),
        (["trainer.train_batch_size=8", "trainer.policy_mini_batch_size=8"], "keys of reward and environment only"),
        (["reward.grade_timeout=60"], "may only be lowered in a swap"),
        (["--endpoint=tcp://127.0.0.1:7001"], "clear TCP"),
        (["--endpoint=ipc:///x", "reward.num_workers=2"], "not both"),
    ],
)
async def test_what_a_swap_cannot_do_is_refused_and_nothing_is_touched(
    tmp_path: Path, words: list[str], reason: str
) -> None:
    swap = a_swap(tmp_path)
    before = (tmp_path / "config.yaml").read_text()

    with pytest.raises(RefusedError, match=reason):
        await swap.perform(NoSupervisor(), Request(op="swap_reward", words=tuple(words)))  # type: ignore[arg-type]

    assert (tmp_path / "config.yaml").read_text() == before
    assert os.listdir(tmp_path) == ["config.yaml"]


def test_the_first_edition_has_the_names_of_old_and_later_ones_their_own() -> None:
    def names(edition: Edition) -> list[str]:
        role = reward_role(RunConfig(), edition=edition, run_dir=Path("/r"), where=private_places(Path("/s")))
        assert role.environment(0, port=1)["TETRAD_BIND"] == f"ipc:///s/{role.instance_name(0)}"
        return [role.instance_name(index) for index in range(2)]

    assert names(Edition()) == ["reward-0", "reward-1"]
    assert names(Edition(number=3)) == ["reward-v3-0", "reward-v3-1"]


def test_a_reward_that_others_keep_has_no_processes_of_ours() -> None:
    edition = Edition(number=2, endpoints=("ipc:///mine",))
    roles = fleet(RunConfig(), run_dir=Path("/r"), runtime_dir=Path("/s"), num_cores=2, edition=edition)

    (role,) = [role for role in roles if role.name == "reward"]

    assert role.replicas == 0
    assert role.outside == "others keep the reward, at ipc:///mine"


def test_a_resumed_run_goes_on_with_the_swapped_reward(tmp_path: Path) -> None:
    words = ("+experiment=demo", f"trainer.run_dir={tmp_path}", "trainer.resume_mode=latest", "trainer.overwrite=false")
    prepared = prepare(RunOptions(config_path=None, config_name=None, overrides=words), environ={})
    reward_ = prepared.config.reward.model_copy(update={"implementation": "new.py:fn"})
    after = prepared.config.model_copy(update={"reward": reward_})
    write_record(tmp_path, RewardRecord(wanted=Edition(number=2)).swapped(prepared.config, after))

    resumed, edition, notice = with_current_reward(prepared)

    assert resumed.config.reward.implementation == "new.py:fn"
    assert edition.number == 2
    assert notice == "the reward was swapped in this run, which goes on with the new one (reward.implementation)"


def test_a_run_that_begins_anew_forgets_the_swap(tmp_path: Path) -> None:
    words = ("+experiment=demo", f"trainer.run_dir={tmp_path}", "trainer.resume_mode=none")
    prepared = prepare(RunOptions(config_path=None, config_name=None, overrides=words), environ={})
    write_record(tmp_path, RewardRecord(current=Edition(number=2)))

    assert with_current_reward(prepared) == (prepared, Edition(), None)


def test_files_are_named_by_their_whole_path_and_names_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr("tetrad_cli.commands.reward.chosen", lambda arguments: asked.append(reward.words_of(arguments)))
    monkeypatch.setattr("tetrad_cli.launch.control.ask", _nobody)

    for argv in (["--reward", "my.py:fn", "reward.num_workers=2"], ["--reward", "pkg.mod:Cls"], ["--env", "gsm8k"]):
        reward.main(["swap", *argv])
    reward.main(["swap", "--endpoint", "ipc:///a", "--endpoint", "ipc:///b"])

    assert asked == [
        (f'reward.implementation="{tmp_path}/my.py:fn"', "reward.num_workers=2"),
        ('reward.implementation="pkg.mod:Cls"',),
        ('reward.implementation="gsm8k"',),
        ("--endpoint=ipc:///a", "--endpoint=ipc:///b"),
    ]


async def _nobody(*_arguments: object, **_options: object) -> None:
    from tetrad_cli.launch.control import ControlError

    raise ControlError("nobody is there")


def test_the_coordinator_s_page_is_read() -> None:
    assert current_edition(PAGE) == 2
    assert current_edition(None) is None
    assert registered(PAGE) == {"current": 3, "standing_by": 1}


def test_both_commands_are_in_the_list() -> None:
    assert {"reward", "conformance"} <= set(summaries())
    assert reward.main(["swop"]) == 2
