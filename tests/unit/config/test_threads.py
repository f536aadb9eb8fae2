"""Threads: processes that share cores do not spin against each other."""

import pytest

from tetrad_config import thread_environment, threads_per_process


@pytest.mark.parametrize(
    ("overrides", "cores", "threads"),
    [
        ([], 1, 1),
        ([], 2, 2),
        ([], 8, 8),
        (["trainer.fully_async.max_staleness_steps=1"], 8, 4),
        (["generator.num_inference_engines=3"], 8, 2),
        (["trainer.placement.policy_num_gpus_per_node=4", "generator.num_inference_engines=4"], 2, 1),
        (["resources.threads_per_process=6"], 2, 6),
    ],
)
def test_cores_are_shared_evenly_unless_a_number_is_asked_for(load_run, overrides, cores, threads):
    assert threads_per_process(load_run(*overrides).config, cores) == threads


def test_waiting_threads_do_not_spin():
    environment = thread_environment(2)

    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["TOKENIZERS_PARALLELISM"] == "false"
