"""Scores are read from the run's metrics and shown by dataset."""

import json

from rich.console import Console

from tetrad_cli.scores import columns_of, read_scores, table_of

SCORES = {
    "eval/gsm8k/mean_reward": 0.25,
    "eval/gsm8k/mean_reward_strict": 0.125,
    "eval/all/mean_reward": 0.5,
    "eval_sampled/all/pass_at_4": 0.75,
}


def test_the_first_evaluation_is_read_and_nothing_else(tmp_path):
    records = [
        {"step": 0, "time": 1.0, "metrics": SCORES},
        {"step": 0, "time": 1.0, "metrics": {"trainer/global_step": 0.0}},
        {"step": 5, "time": 2.0, "metrics": {"eval/all/mean_reward": 1.0}},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records) + "{")

    assert read_scores(tmp_path / "metrics.jsonl") == SCORES


def test_a_run_without_metrics_has_no_scores(tmp_path):
    assert read_scores(tmp_path / "metrics.jsonl") == {}


def test_a_number_of_missing_samples_is_no_score():
    assert columns_of({"eval/num_missing": 4.0}) == {}


def test_the_table_has_a_column_for_each_dataset_and_a_row_for_each_score():
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table_of(SCORES, title="model"))

    lines = captured.get().splitlines()
    assert lines[0].strip() == "model"
    assert [word in lines[2] for word in ("gsm8k", "all", "all, sampled")] == [True] * 3
    assert [line.split()[1] for line in lines[4:-1]] == ["mean_reward", "mean_reward_strict", "pass_at_4"]
    assert "0.2500" in lines[4]
    assert "0.5000" in lines[4]
