"""Memory and disk of each role, before anything loads."""

from tetrad_config import plan, render
from tetrad_config.role_use import JOURNAL_BYTES_PER_TOKEN, RoleUse, role_uses

HALF_A_BILLION = 500_000_000


def of(config, *, parameters=HALF_A_BILLION, **known) -> dict[str, RoleUse]:
    planned = plan(config, None, parameters=parameters)
    return {use.role: use for use in role_uses(config, planned, **known)}


def sizes(held) -> dict[str, int | None]:
    return {one.what: one.num_bytes for one in held}


def test_the_tutorials_roles_have_their_sizes(load_tutorial):
    roles = of(load_tutorial().config)

    assert {role: use.num_processes for role, use in roles.items()} == {
        "rollout": 4,
        "reward": 1,
        "learner": 4,
        "broadcaster": 1,
    }
    # bfloat16 in engines; float32 weights, gradient and two moments over four ranks; a frozen float32 reference.
    assert sizes(roles["rollout"].memory) == {"weights": 10**9, "stage of the next version": 10**9}
    assert sizes(roles["learner"].memory) == {"policy with gradients and moments": 2 * 10**9, "reference": 5 * 10**8}
    assert roles["broadcaster"].shared_memory == (), "they stay on the GPUs"
    assert sizes(roles["learner"].disk)["checkpoints"] == 203 * 10**9
    assert "80%" in roles["rollout"].note


def test_a_critic_is_counted_where_there_is_one(load_tutorial):
    config = load_tutorial("trainer.algorithm.advantage_estimator=gae", "trainer.critic.model.path=/model").config

    assert sizes(of(config, critic_parameters=HALF_A_BILLION)["learner"].memory)["critic"] == 2 * 10**9
    assert sizes(of(config)["learner"].memory)["critic"] is None


def test_the_journal_reaches_back_to_the_oldest_checkpoint_or_to_the_beginning(load_tutorial):
    overrides = ("trainer.max_ckpts_to_keep=2", "trainer.best_ckpt_metric=null")
    some = load_tutorial(*overrides).config
    everything = load_tutorial(*overrides, "journal.keep=all").config

    def journal(config):
        return sizes(of(config)["learner"].disk)["journal"]

    per_step = 1024 * (512 + 1024) * JOURNAL_BYTES_PER_TOKEN
    assert journal(some) == 3 * 10 * per_step
    assert journal(everything) == 290 * per_step


def test_on_a_cpu_versions_lie_in_shared_memory(load_run):
    roles = of(load_run("+experiment=cpu").config)

    assert sizes(roles["broadcaster"].shared_memory) == {"2 versions": 4 * 10**9}
    assert sizes(roles["learner"].shared_memory) == {"2 buffers to publish from": 4 * 10**9}


def test_adapters_alone_make_versions_small(load_run):
    config = load_run(
        "trainer.policy.model.lora.rank=8",
        "generator.enable_lora=true",
        "generator.backend=sglang",
        "generator.weight_sync_backend=gloo",
        "trainer.placement.colocate_all=false",
    ).config
    planned = plan(config, None, parameters=HALF_A_BILLION, adapter_parameters=1_000_000)

    broadcaster = role_uses(config, planned)[-1]

    assert broadcaster.role == "broadcaster"
    assert config.syncs_adapters_only
    assert sizes(broadcaster.shared_memory) == {"2 versions": 4 * 10**6}


def test_a_person_reads_a_line_for_each_role(load_tutorial):
    config = load_tutorial().config
    planned = plan(config, None, parameters=HALF_A_BILLION)

    text = render(planned, roles=role_uses(config, planned))

    assert "rollout (each of 4)     memory: weights 1.0 GB, stage of the next version 1.0 GB; weights and KV" in text
    assert "broadcaster             versions stay in GPU memory" in text


def test_what_has_no_known_size_is_called_unknown(load_run):
    config = load_run("data.train_data=a.parquet").config
    planned = plan(config, None)

    assert "policy with gradients and moments unknown" in render(planned, roles=role_uses(config, planned))
