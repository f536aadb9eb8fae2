"""Who uses which GPU, before anything loads."""

from tetrad_config import gpu_uses, plan

HALF_A_BILLION = 500_000_000
SPLIT = ("trainer.placement.colocate_all=false", "generator.num_inference_engines=2")


def used(loaded, visible=(), **sizes):
    planned = plan(loaded.config, None, parameters=HALF_A_BILLION)
    return gpu_uses(loaded.config, planned, visible=visible, **sizes)


def test_colocated_ranks_and_engines_are_on_the_same_gpus(load_tutorial):
    gpus = used(load_tutorial())

    assert [[use.process for use in gpu.uses] for gpu in gpus] == [[f"rank {n}", f"rollout-{n}"] for n in range(4)]
    rank, engine = gpus[0].uses
    assert {held.what: held.num_bytes for held in rank.held} == {
        "policy": 2_000_000_000,
        "reference": 500_000_000,
        "buffers to publish from": 2_000_000_000,
    }
    assert {held.what: held.num_bytes for held in engine.held} == {"weights": 10**9, "stage": 10**9}
    assert all(use.note.endswith("by turns") for use in (rank, engine))


def test_split_engines_follow_the_learner_and_their_parts_share_the_weights(load_tutorial):
    loaded = load_tutorial(*SPLIT, "generator.inference_engine_tensor_parallel_size=2")

    gpus = used(loaded, visible=tuple("76543210"))

    assert [gpu.name for gpu in gpus] == list("76543210")
    assert [[use.process for use in gpu.uses] for gpu in gpus[3:6]] == [
        ["rank 3"],
        ["rollout-0, part 1 of 2"],
        ["rollout-0, part 2 of 2"],
    ]
    first, second = (
        {held.what: held.num_bytes for held in gpus[number].uses[0].held if held.what != "received version"}
        for number in (4, 5)
    )
    assert first == second == {"weights": 500_000_000, "stage": 10**9}


def test_versions_that_go_by_nccl_have_room_on_both_sides(load_tutorial):
    def held(what, *overrides):
        gpus = used(load_tutorial(*SPLIT, *overrides))
        return [(gpu.name, use.process) for gpu in gpus for use in gpu.uses if what in [one.what for one in use.held]]

    assert held("copies to send") == [("0", "broadcaster")]
    assert held("received version") == [("4", "rollout-0"), ("5", "rollout-1")]
    assert len(held("buffers to publish from")) == 4
    assert held("copies to send", "generator.weight_sync_backend=gloo") == []


def test_gpus_that_are_not_there_go_by_their_numbers(load_tutorial):
    assert [gpu.name for gpu in used(load_tutorial(*SPLIT), visible=("0", "1"))] == ["0", "1", "2", "3", "4", "5"]


def test_the_critic_is_on_the_policys_gpus(load_tutorial):
    loaded = load_tutorial(
        "trainer.algorithm.advantage_estimator=gae", "trainer.critic.model.path=Qwen/Qwen2.5-0.5B-Instruct"
    )

    held = used(loaded, critic_parameters=HALF_A_BILLION)[0].uses[0].held

    assert ("critic", 2_000_000_000) in [(one.what, one.num_bytes) for one in held]


def test_a_run_on_the_cpu_uses_no_gpu(load_run):
    assert used(load_run("+experiment=cpu")) == ()
