"""Tasks of reasoning-gym, from the data set that is made to the score that its own scorer gives."""

import json

import pytest

pytest.importorskip("reasoning_gym", reason="the extra 'reasoning-gym' is not installed")

from tetrad_cli.data import command
from tetrad_reward.environments.reasoning_gym import ReasoningGym, answer_in
from tetrad_reward.evaluated_answers import FORMULAS, LITERALS, is_harmless
from tetrad_trajectories.dataset import Dataset


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rg")
    tasks, sizes = ("chain_sum", "spell_backward", "rubiks_cube"), ("--size", "9", "--validation-size", "3")
    made = command(["reasoning-gym", "--output-dir", str(folder), "--task", *tasks, *sizes])
    assert made == 0
    return Dataset.read([folder / "train.parquet"]), Dataset.read([folder / "validation.parquet"])


def extras_of(row):
    return {**row.extras, "reward_spec": {"ground_truth": row.ground_truth}}


def test_the_right_answer_of_every_row_is_right(rows):
    train, validation = rows
    scores = [
        ReasoningGym({}, extras_of(row)).step(f"Thus <answer>{row.ground_truth}</answer>")["reward"]
        for row in [*(train[n] for n in range(len(train))), *(validation[n] for n in range(len(validation)))]
        # A cube has many solutions, of which none is in the row.
        if "rubiks" not in row.extras["data_source"]
    ]

    assert (len(train), len(validation)) == (9, 3)
    assert scores == [1.0] * 8
    assert {row.env_class for row in (train[0], validation[0])} == {"reasoning_gym"}


def test_no_row_is_both_trained_and_held_out(rows):
    train, validation = rows

    held_out = {validation[n].prompt for n in range(len(validation))}
    assert not held_out & {train[n].prompt for n in range(len(train))}


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        ("<answer>{}</answer>", 1.0),
        ("<answer>1</answer><answer> {} </answer>", 1.0),
        ("{}", 1.0),
        ("<answer>none</answer>", 0.0),
        ("", 0.0),
        ("<answer>" * 10_000, 0.0),
        ("9" * 100_000, 0.0),
        ("(" * 100_000, 0.0),
    ],
)
def test_an_answer_is_scored_by_the_task(rows, response, reward):
    row = rows[0][0]

    environment = ReasoningGym({"partial_credit": False}, extras_of(row))

    assert environment.step(response.replace("{}", row.ground_truth))["reward"] == reward


def test_partial_credit_may_be_taken(rows):
    row = rows[0][0]
    padded = f"it is {row.ground_truth}, I think"

    paid, unpaid = (
        ReasoningGym({"partial_credit": has}, extras_of(row)).step(padded)["reward"] for has in (True, False)
    )

    assert 0.0 < paid < 1.0
    assert unpaid == 0.0


@pytest.mark.parametrize("task", sorted(LITERALS | FORMULAS))
def test_no_answer_is_run_by_a_scorer_that_would(tmp_path, task):
    sizes = ("--size", "3", "--validation-size", "1")
    made = command(["reasoning-gym", "--output-dir", str(tmp_path), "--task", task, *sizes])
    rows = Dataset.read([tmp_path / "train.parquet"])
    path = tmp_path / "run"
    attack = f"open({str(path)!r}, 'w')"
    spelled = "+".join(f"chr({ord(letter)})" for letter in attack)
    attacks = [attack, f"[{attack}]", f"eval({spelled})", f"S({spelled})", f"sympify({spelled})", f"f'{{{attack}}}'"]

    paid = [ReasoningGym({}, extras_of(rows[0])).step(f"<answer>{text}</answer>")["reward"] for text in attacks]

    assert made == 0
    assert all(is_harmless(rows[n].ground_truth, task=task) for n in range(len(rows)))
    assert paid == [0.0] * len(attacks)
    assert not path.exists()


def test_a_row_that_comes_out_otherwise_is_refused(rows):
    extras = extras_of(rows[0][0])

    with pytest.raises(ValueError, match="comes out otherwise"):
        ReasoningGym({}, {**extras, "reward_spec": {"ground_truth": "0.5"}})
    with pytest.raises(ValueError, match="make the data set with: tetrad data reasoning-gym"):
        ReasoningGym({}, {"reward_spec": {"ground_truth": "1"}})


def test_the_last_tag_counts():
    assert answer_in("<answer>a</answer> b") == ("a", "tag")
    assert answer_in("</answer><answer>") == ("</answer><answer>", "whole")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--task", "chain_sun"], "has none of that name; it has chain_sum"),
        (["--task", "chain_sum", "--config", "{"], "no JSON"),
        (["--task", "chain_sum", "--config", "[]"], "must be an object"),
        (["--task", "chain_sum", "--config", '{"min_term": 2}'], "min_term"),
        (["--task", "chain_sum", "--config", '{"min_terms": -2}'], "chain_sum with"),
        (["--task", "chain_sum", "spell_backward", "--config", '{"min_terms": 2}'], "for one task; 2 are named"),
    ],
)
def test_what_cannot_be_generated_is_said(tmp_path, capsys, words, reason):
    assert command(["reasoning-gym", "--output-dir", str(tmp_path), *words]) == 2

    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_settings_of_the_task_reach_it_and_its_grader(tmp_path):
    config = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    words = ["--task", "chain_sum", "--size", "4", "--config", json.dumps(config), "--system-prompt", "Be brief."]

    assert command(["reasoning-gym", "--output-dir", str(tmp_path), *words]) == 0

    row = Dataset.read([tmp_path / "train.parquet"])[3]
    assert row.prompt[0].content == "Be brief."
    assert ReasoningGym({}, extras_of(row)).step(row.ground_truth)["reward"] == 1.0
