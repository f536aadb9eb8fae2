"""The engine without its thread, on a model whose next token is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from unit.rollout.engine_builders import a_request

from tetrad_rollout.engine.core import BatchSettings, EngineCore, Outcome
from tetrad_rollout.engine.errors import EngineBusyError, ForwardFailedError, InvalidRequestError
from tetrad_rollout.engine.fake import FakeRunner, Faults
from tetrad_rollout.engine.protocol import FinishReason

VOCABULARY = 10
POISONED = 9


def counting_up() -> NDArray[np.float32]:
    """After token t comes t + 1, for certain; after 8 comes 0, and after 9 nothing that is finite."""
    table = np.full((VOCABULARY, VOCABULARY), -np.inf, np.float32)
    for token in range(VOCABULARY - 1):
        table[token, (token + 1) % (VOCABULARY - 1)] = 0.0
    table[POISONED] = np.nan
    return table


def a_core(*, faults: Faults | None = None, **settings: object) -> EngineCore:
    runner = FakeRunner(counting_up(), eos_token_ids=(0,), faults=faults)
    return EngineCore(runner, settings=BatchSettings(**settings))  # type: ignore[arg-type]  # spelt by each test


def run(core: EngineCore, *, steps: int = 100) -> list[Outcome]:
    outcomes = []
    while not core.is_idle and len(outcomes) < steps:
        outcomes.append(core.step())
    return outcomes


def tokens(core: EngineCore, *prompts: int, **fields: object) -> list[list[int]]:
    jobs = [core.submit(a_request(prompt=[p], seeds=(1,), **fields)) for p in prompts]  # type: ignore[arg-type]
    run(core)
    return [sample.token_ids.tolist() for job in jobs for sample in job.samples if sample is not None]


def test_rows_that_end_at_different_times_keep_their_own_tokens() -> None:
    core = a_core()

    assert tokens(core, 1, 6, 4, 8, 2) == [
        [2, 3, 4, 5, 6, 7, 8, 0],
        [7, 8, 0],
        [5, 6, 7, 8, 0],
        [0],
        [3, 4, 5, 6, 7, 8, 0],
    ]
    assert core.counters.generated_tokens == 24
    assert core.running_samples == core.waiting_samples == 0


@pytest.mark.parametrize("is_deterministic", [False, True])
def test_a_failed_forward_fails_only_the_requests_in_it(is_deterministic: bool) -> None:
    core = a_core(faults=Faults(fail_on_token=5), max_num_seqs=2, is_deterministic=is_deterministic)
    doomed = core.submit(a_request(prompt=[3], seeds=(1, 2)))
    fine = core.submit(a_request(prompt=[6], seeds=(1, 2)))

    failed = [pair for outcome in run(core) for pair in outcome.failed]

    ((job, error),) = failed
    assert job is doomed
    assert isinstance(error, ForwardFailedError)
    assert "told to fail on token 5" in str(error)
    assert core.counters.last_failure == "RuntimeError: told to fail on token 5"
    assert [sample and sample.token_ids.tolist() for sample in fine.samples] == [[7, 8, 0]] * 2


def test_a_failed_prefill_leaves_the_running_rows_alone() -> None:
    core = a_core(faults=Faults(fail_on_token=5))
    running = core.submit(a_request(prompt=[6], seeds=(1, 2, 3)))
    core.step()
    doomed = core.submit(a_request(prompt=[5]))

    failed = [job for outcome in run(core) for job, _ in outcome.failed]

    assert failed == [doomed]
    assert [sample and sample.token_ids.tolist() for sample in running.samples] == [[7, 8, 0]] * 3


@pytest.mark.parametrize("is_deterministic", [False, True])
def test_logits_that_are_not_finite_fail_their_own_request(is_deterministic: bool) -> None:
    core = a_core(is_deterministic=is_deterministic)
    sick = core.submit(a_request(prompt=[POISONED]))
    fine = core.submit(a_request(prompt=[6]))

    failed = [(job, str(error)) for outcome in run(core) for job, error in outcome.failed]

    assert [job for job, _ in failed] == [sick]
    assert "not finite" in failed[0][1]
    assert fine.is_done


def test_a_deterministic_batch_keeps_its_shape_until_the_last_row_ends() -> None:
    class Watching(FakeRunner):
        shapes: list[int]

        def decode(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
            self.shapes.append(len(tokens))
            return super().decode(tokens)

    table = np.zeros((4, 4), np.float32)
    runner = Watching(table, eos_token_ids=(0,))
    runner.shapes = []
    core = EngineCore(runner, settings=BatchSettings(is_deterministic=True))
    core.submit(a_request(prompt=[1], seeds=range(6), max_new_tokens=12))
    run(core)

    assert set(runner.shapes) == {6}


def test_the_queue_is_bounded() -> None:
    core = a_core(max_waiting_samples=4)
    core.submit(a_request(prompt=[1], seeds=(1, 2, 3)))

    with pytest.raises(EngineBusyError, match="3 samples wait and 2 more were asked; the limit is 4"):
        core.submit(a_request(prompt=[1], seeds=(1, 2)))


def test_ids_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"\[-1, 10\]; the vocabulary is \[0, 10\)"):
        a_core().submit(a_request(prompt=[-1, 10]))


def test_a_group_that_is_split_is_whole_when_all_its_parts_are() -> None:
    core = a_core(max_num_seqs=2)
    job = core.submit(a_request(prompt=[6], seeds=range(5)))

    seen_done = []
    while not core.is_idle:
        seen_done += [done.is_done for done in core.step().advanced]

    assert seen_done.count(True) == 1
    assert [sample and sample.token_ids.tolist() for sample in job.samples] == [[7, 8, 0]] * 5
    assert core.counters.peak_running_samples == 2
    assert core.counters.requests_finished == 1


def test_aborting_a_split_group_forgets_what_still_waits() -> None:
    core = a_core(max_num_seqs=2)
    job = core.submit(a_request(prompt=[1], seeds=range(5)))
    core.step()

    core.abort(job.request.request_id)

    assert core.is_idle
    assert core.waiting_samples == core.running_samples == 0
    assert [len(sample.token_ids) for sample in job.samples if sample] == [1, 1, 0, 0, 0]
    assert {sample.finish_reason for sample in job.samples if sample} == {FinishReason.ABORTED}
