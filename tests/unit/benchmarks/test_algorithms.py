import json
from pathlib import Path

from algorithms import ALGORITHMS, Outcome, keep_curves, measured_before, metrics


def an_outcome(name: str, after: float) -> Outcome:
    (algorithm,) = (each for each in ALGORITHMS if each.name == name)
    summary = {"accuracy_before": 0.25, "accuracy_after": after, "greedy_after": 1.0, "seconds": 60.0}
    return Outcome(algorithm=algorithm, summary=summary, rewards=(0.25, after))


def test_a_run_of_one_algorithm_leaves_the_curves_of_the_others(tmp_path: Path):
    path = tmp_path / "curves" / "algorithms.json"
    keep_curves([an_outcome("grpo", 0.5), an_outcome("rloo", 0.6)], path)

    kept = keep_curves([an_outcome("rloo", 0.75)], path)

    assert {name: curve["rewards"] for name, curve in kept.items()} == {"grpo": [0.25, 0.5], "rloo": [0.25, 0.75]}
    assert json.loads(path.read_text()) == kept


def test_a_run_of_one_algorithm_leaves_the_figures_of_the_others(tmp_path: Path):
    path = tmp_path / "algorithms-cpu.json"
    path.write_text(json.dumps({"metrics": dict(metrics([an_outcome("grpo", 0.5), an_outcome("lora", 0.5)]))}))

    figures = measured_before(path) | dict(metrics([an_outcome("lora", 0.75)]))

    assert figures["grpo_sampled_after_correct_share"] == 0.5
    assert figures["lora_sampled_after_correct_share"] == 0.75


def test_without_a_results_file_nothing_was_measured(tmp_path: Path):
    assert measured_before(tmp_path / "none.json") == {}
