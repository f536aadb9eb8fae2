"""Keys that name a function of ours or of others: what is taken as it is, never imported, and what is a typo."""

import sys

import pytest

from tetrad_config.algorithm import AdvantageEstimator, LossReduction, PolicyLoss

ENTRY_POINTS = """[tetrad.advantage_estimators]
best_of_group = theirs:best
[tetrad.policy_losses]
gentle = theirs:gentle
[tetrad.loss_reductions]
by_turn = theirs:by_turn
"""
KEYS = {"advantage_estimator": AdvantageEstimator, "policy_loss_type": PolicyLoss, "loss_reduction": LossReduction}
INSTALLED = {"advantage_estimator": "best_of_group", "policy_loss_type": "gentle", "loss_reduction": "by_turn"}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("key", KEYS)
def test_every_name_of_ours_becomes_a_member_of_the_closed_set(load_run, key):
    critic = "trainer.critic.model.path=Qwen/Qwen2.5-0.5B-Instruct"

    for name in KEYS[key]:
        algorithm = load_run(f"trainer.algorithm.{key}={name.value}", critic).config.trainer.algorithm
        assert getattr(algorithm, key) is name


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", ["mine:best", "my_package.losses:Family.gentle"])
def test_a_function_of_a_module_is_passed_on_and_not_imported(load_run, key, name):
    config = load_run(f"trainer.algorithm.{key}={name}").config

    assert config.model_dump(mode="json")["trainer"]["algorithm"][key] == name
    assert "mine" not in sys.modules


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("key", KEYS)
def test_an_entry_point_of_an_installed_package_is_passed_on_and_not_imported(load_run, key):
    config = load_run(f"trainer.algorithm.{key}={INSTALLED[key]}").config

    assert config.model_dump(mode="json")["trainer"]["algorithm"][key] == INSTALLED[key]
    assert "theirs" not in sys.modules


@pytest.mark.usefixtures("installed")
def test_an_entry_point_of_another_group_is_no_estimator(problems_of):
    (problem,) = problems_of("trainer.algorithm.advantage_estimator=gentle")

    assert '"gentle" is none of grpo, gae, rloo, reinforce++, maxrl, best_of_group, module:function' in problem


@pytest.mark.parametrize(
    ("override", "guess"),
    [
        ("advantage_estimator=gpro", "did you mean grpo?"),
        ("advantage_estimator=reinforce+", "did you mean reinforce++?"),
        ("policy_loss_type=dualclip", "did you mean dual_clip?"),
        ("loss_reduction=tokenmean", "did you mean token_mean?"),
    ],
)
def test_a_typo_of_a_name_of_ours_is_refused_with_the_name(problems_of, override, guess):
    (problem,) = problems_of(f"trainer.algorithm.{override}")

    assert guess in problem


@pytest.mark.usefixtures("installed")
def test_a_typo_of_an_installed_name_is_refused_with_the_name(problems_of):
    (problem,) = problems_of("trainer.algorithm.advantage_estimator=best_of_groups")

    assert "did you mean best_of_group?" in problem


@pytest.mark.parametrize("value", ["mine:", ":best", "mine:best()", "my/mine:best", "mine:a:b", "other", "3", "[grpo]"])
def test_anything_else_is_refused_with_what_is_known(problems_of, value):
    (problem,) = problems_of(f"trainer.algorithm.advantage_estimator={value}")

    assert "is none of grpo, gae, rloo, reinforce++, maxrl, module:function" in problem


def test_a_file_in_place_of_a_module_is_refused_with_the_module(problems_of):
    (problem,) = problems_of("trainer.algorithm.policy_loss_type=./my/mine.py:best")

    assert "must name a module, not a file, such as my.mine:best" in problem
