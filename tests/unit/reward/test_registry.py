import sys
from pathlib import Path

import pytest

from tetrad_reward.registry import GraderError, known_names, load_grader

GRADERS = Path(__file__).with_name("graders.py")
ROW = {"reward_spec": {"ground_truth": "3"}}


def test_bundled_names_are_known():
    assert {"arithmetic", "gsm8k"} <= set(known_names())
    assert load_grader("arithmetic", {}).is_replayable


def test_an_unknown_name_says_what_was_meant():
    with pytest.raises(GraderError, match="did you mean 'gsm8k'"):
        load_grader("gsm9k", {})


def test_a_class_is_loaded_from_a_module():
    grader = load_grader("tetrad_reward.environments.gsm8k:Gsm8k", {"mode": "boxed"})

    assert grader.make({"reward_spec": {"ground_truth": "5"}}).step(r"\boxed{5}")["reward"] == 1.0


def test_a_class_is_loaded_from_a_file():
    grader = load_grader(f"{GRADERS}:Countdown", {})

    assert grader.is_replayable
    assert grader.make(ROW).step("3")["reward"] == 1.0


def test_settings_reach_a_class_by_key_and_by_attribute():
    environment = load_grader(f"{GRADERS}:Configured", {"bonus": 2}).make({})

    assert environment.step("")["reward"] == 4


def test_no_episode_changes_the_settings_of_the_next():
    grader = load_grader(f"{GRADERS}:Configured", {"bonus": 2, "inner": {"a": 1}})

    grader.make({}).config["inner"]["a"] = 9

    assert grader.make({}).config["inner"]["a"] == 1


def test_a_function_is_loaded_from_a_file():
    environment = load_grader(f"{GRADERS}:length", {}).make({})

    assert environment.step("abc")["reward"] == 3.0


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (f"{GRADERS}:lenght", "did you mean 'length'"),
        (f"{GRADERS.with_name('grader.py')}:length", "did you mean .*graders.py"),
        (f"{GRADERS}:NoStep", "no step"),
        (f"{GRADERS}:one_argument", "takes \\(response, ground_truth"),
        (f"{GRADERS}:asynchronous", "not async"),
        (f"{GRADERS}:GRADERS", "no class or function"),
        ("no_such_module:Class", "no module 'no_such_module'"),
        ("tetrad_reward.no_such:Class", "no module"),
        ("math:pi", "neither"),
    ],
)
def test_a_reference_that_leads_nowhere_says_why(reference, message):
    with pytest.raises(GraderError, match=message):
        load_grader(reference, {})


def test_a_function_takes_no_settings():
    with pytest.raises(GraderError, match="no settings; got bonus"):
        load_grader(f"{GRADERS}:length", {"bonus": 1})


def test_a_module_missing_inside_the_users_file_is_its_own_error(tmp_path):
    (tmp_path / "mine.py").write_text("import not_installed_anywhere\n")

    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_grader(f"{tmp_path}/mine.py:fn", {})


def test_an_installed_package_registers_by_entry_point(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(GRADERS.read_text())
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[tetrad.environments]\ncountdown = theirs:Countdown\n")
    monkeypatch.syspath_prepend(tmp_path)

    grader = load_grader("countdown", {})

    assert "countdown" in known_names()
    assert grader.make(ROW).step("3")["reward"] == 1.0


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("math", "math_verify", "math"),
        ("reasoning_gym", "reasoning_gym", "reasoning-gym"),
        ("aime", "skyrl_gym", "skyrl-gym"),
    ],
)
def test_an_environment_whose_package_is_missing_says_how_to_get_it(monkeypatch, name, package, extra):
    # None in sys.modules is Python's own way of saying that there is no such module.
    for module in [known for known in sys.modules if known.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"tetrad_reward.environments.{name}", raising=False)

    with pytest.raises(GraderError, match=rf"install it with: pip install 'tetrad-reward\[{extra}\]'"):
        load_grader(name, {})


def test_settings_that_an_environment_does_not_have_are_refused_before_the_first_row():
    with pytest.raises(GraderError, match="multiply has no setting tool"):
        load_grader("multiply", {"tool": True})
