"""Learner and generation side by side: the groups of the next step are made while the former step is trained."""

import json

import pytest
from chaos.run_under_test import BATCH, GROUP_SIZE, NUM_STEPS, MakeRun, RunUnderTest

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

LAG = """
    SELECT count(*) FROM leases
    JOIN slots ON slots.token = leases.token AND slots.state = 'sealed'
    JOIN versions ON versions.version = leases.version
    WHERE slots.step - 1 - versions.step {}
"""
"""Samples by the steps between the weights that they were leased under and those that trained on them."""


def test_steps_overlap_up_to_the_staleness_bound_and_never_beyond(make_run: MakeRun) -> None:
    run: RunUnderTest = make_run("trainer.fully_async.max_staleness_steps=1", "generator.num_inference_engines=2")

    assert run.start().finish() == 0, run.last_words()

    run.check_fates()
    # The run begins with two batches under the first version: the second one is made while the first is trained.
    assert run.count(LAG.format("= 1")) >= BATCH * GROUP_SIZE
    assert run.count(LAG.format("> 1")) == 0
    assert run.count(LAG.format("IN (0, 1)")) == NUM_STEPS * BATCH * GROUP_SIZE
    assert run.leases_by_replica().keys() == {"rollout-0", "rollout-1"}
    lines = [json.loads(line)["metrics"] for line in (run.run_dir / "metrics.jsonl").read_text().splitlines()]
    timings = [value for metrics in lines for name, value in metrics.items() if name.startswith("timing/")]
    assert timings
    assert min(timings) >= 0
