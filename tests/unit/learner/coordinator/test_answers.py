"""The answers of an evaluation, as people find them."""

import json

import pytest

from tetrad_config import load
from tetrad_learner.coordinator.answers import write_answers
from tetrad_learner.coordinator.tasks import Tasks
from tetrad_testing.builders.leases import a_sample
from tetrad_trajectories.dataset import Dataset
from tetrad_wire.messages.leases import Lane


@pytest.fixture
def tasks():
    config = load(["+experiment=demo", "trainer.eval_sampled_n=2"], environ={}).config
    return Tasks(config, None, [("validation", Dataset.read(config.data.val_data))])


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def an_answer(draw, index, response, reward=1.0, **changes):
    return a_sample(lane=Lane.EVAL, draw=draw, index=index, response=response, reward=reward, **changes)


def test_each_answer_is_a_line_with_its_prompt_in_the_order_of_the_data(tmp_path, tasks):
    samples = [an_answer(3, 0, "second"), an_answer(0, 0, "первый", reward=0.0, scores={"strict": 0.0, "loose": 1.0})]

    folder = write_answers(tmp_path, step=7, tasks=tasks, samples=samples, scores={"eval/all/avg_score": 0.5})

    rows = rows_of(tmp_path / "dumped_evals" / "global_step_7_evals" / "validation.jsonl")
    assert [(row["row"], row["output_response"], row["score"]) for row in rows] == [
        (0, "первый", 0.0),
        (3, "second", 1.0),
    ]
    assert rows[0]["input_prompt"][-1]["role"] == "user"
    assert rows[0]["env_extras"]["ground_truth"]
    named = ("step", "data_source", "sample", "stop_reason", "num_turns", "scores", "env_metrics")
    assert {name: rows[0][name] for name in named} == {
        "step": 7,
        "data_source": "validation",
        "sample": 0,
        "stop_reason": "stop",
        "num_turns": 1,
        "scores": {"strict": 0.0, "loose": 1.0},
        "env_metrics": {"exact": 1.0},
    }
    assert rows_of(folder / "aggregated_results.jsonl") == [{"eval/all/avg_score": 0.5}]


def test_sampled_answers_have_a_file_of_their_own_and_a_repeated_round_replaces_it(tmp_path, tasks):
    draw = next(number for number, task in enumerate(tasks.evaluation) if task.mode == "eval_sampled")

    for answers in (("a", "b", "c"), ("d", "e")):
        samples = [an_answer(draw, index, text) for index, text in enumerate(answers)]
        folder = write_answers(tmp_path, step=0, tasks=tasks, samples=samples, scores={})

    assert [row["output_response"] for row in rows_of(folder / "validation-eval_sampled.jsonl")] == ["d", "e"]
    assert not (folder / "validation.jsonl").exists()
