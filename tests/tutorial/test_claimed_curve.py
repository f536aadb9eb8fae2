"""The learning curve that the tutorial claims is compared with a results file of a run, where there is one."""

import json

import pytest

from tutorial.run_promises import MODEL, compared


def a_result(folder, *, model=MODEL, before=0.05, after=0.1, flexible=(0.26, 0.44), hours=1.5):
    path = folder / "tutorial_run-gpu.json"
    metrics = {
        "strict_before_correct_share": before,
        "strict_step_50_correct_share": after,
        "flexible_before_correct_share": flexible[0],
        "flexible_step_50_correct_share": flexible[1],
        "step_50_hours": hours,
    }
    path.write_text(json.dumps({"setting": {"model": model}, "metrics": metrics}))
    return path


def test_a_curve_that_is_as_claimed_by_one_rule_is_evidence(tmp_path):
    assert "flexible 26.0% to 44.0% in 50 steps, 1.50 hours" in compared(a_result(tmp_path))


@pytest.mark.parametrize(
    "words",
    [{"flexible": (0.26, 0.3)}, {"flexible": (0.4, 0.45)}, {"hours": 4.0}, {"model": "SmolLM2-135M-Instruct"}],
    ids=["too little learnt", "another beginning", "too slow", "another model"],
)
def test_one_that_is_not_fails_with_its_figures(tmp_path, words):
    with pytest.raises(AssertionError, match=r"tutorial_run-gpu\.json"):
        compared(a_result(tmp_path, **words))
