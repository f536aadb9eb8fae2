"""Parts 3, 7 and 8: what a run file says is done, under the names that the tutorial uses."""

from pathlib import Path
from typing import Any, Final

import yaml

from tetrad_rollout.engine.sglang.arguments import attention_backend
from tutorial.proof import shown_by
from tutorial.verdict import NeedsGpuError, Promise
from tutorial.walk import LAST_STEP, RUN_FILE, Walk
from tutorial.walker import overlay_name

FILE, WITH_FILE, WITH_PRESET = 7, 9, 10
LARGER, GAE, RLOO, LORA, EIGHT, FLASHINFER, MEMORY, TIMEOUT = 17, 18, 19, 20, 21, 25, 28, 29
MANY: Final = 8
SLOW_ENGINE: Final = (
    "tests/integration/test_weight_sync.py::"
    "test_a_slow_engine_is_quarantined_by_name_while_the_others_go_on_and_comes_back"
)
CUT_SMALLER: Final = (
    "tests/e2e/test_memory_shortage.py::test_a_lone_rank_begins_the_mini_batch_again_and_says_what_fits"
)


def setting(walk: Walk, run: str, key: str) -> Any:
    """Return a value of a run's resolved file; the key must be there."""
    tree = yaml.safe_load((walk.outputs(run) / "config.yaml").read_text(encoding="utf-8"))
    for part in key.split("."):
        tree = tree[part]
    return tree


def name_of(walk: Walk, number: int) -> str:
    """Return the name of the run file, and of the run, of a block of Parts 7 and 8."""
    return overlay_name(walk.block(number))


def said(walk: Walk, number: int, *words: str) -> str:
    """Return what a block said, where all these words are in one of its lines."""
    lines = walk.result(number).err.splitlines()
    found = [line for line in lines if all(word in line for word in words)]
    assert found, f"no line with {words} in {lines}"
    return found[0]


def config_path(walk: Walk) -> str:
    """T4."""
    walk.result(WITH_FILE)
    path = walk.workshop.cwd / f"{RUN_FILE}.yaml"
    assert path.read_text(encoding="utf-8") == walk.block(FILE).text
    assert setting(walk, "sglang-grpo", "trainer.project_name") == "gsm8k-tutorial"
    return f"--config-path . finds {path.name}, byte for byte that of Part 3, in the folder of the shell"


def ckpt_dir(walk: Walk) -> str:
    """T5."""
    line = said(walk, WITH_FILE, "trainer.ckpt_dir is an alias of trainer.ckpt_path")
    assert Path(setting(walk, "sglang-grpo", "trainer.ckpt_path")) == walk.workshop.home / "ckpts"
    return line


def lambda_(walk: Walk) -> str:
    """T6."""
    line = said(walk, GAE, "trainer.algorithm.lambda_ is an alias of trainer.algorithm.lambd")
    assert setting(walk, name_of(walk, GAE), "trainer.algorithm.lambd") == 0.95
    return f"{line}; lambd is 0.95 in the run"


def lora(walk: Walk) -> str:
    """T7."""
    walk.result(LORA)
    run = name_of(walk, LORA)
    assert setting(walk, run, "trainer.policy.model.lora.rank") == 32
    assert setting(walk, run, "generator.enable_lora") is True
    steps = [step for step, figures in walk.metrics(run).items() if "train/policy_loss" in figures]
    assert steps == [1, 2], steps
    backend = setting(walk, run, "generator.backend")
    assert backend == ("sglang" if walk.machine.has_gpu else "transformers"), backend
    return f"rank 32 trained for 2 steps with {backend}"


def sync_timeout(walk: Walk) -> str:
    """T8."""
    walk.result(TIMEOUT)
    assert setting(walk, name_of(walk, TIMEOUT), "generator.weight_sync_timeout") == 120.0
    return f"120 s in the run; {shown_by(SLOW_ENGINE)}"


def tensor_parallel(walk: Walk) -> str:
    """T9."""
    walk.result(LARGER)
    if walk.machine.num_gpus == 1:
        raise NeedsGpuError("an engine over two GPUs needs two; there is one")
    planned = walk.workshop.run(f"tetrad train --config-path . --config-name {name_of(walk, LARGER)} --show-config")
    tree = yaml.safe_load(planned.succeeded().out)
    assert tree["generator"]["inference_engine_tensor_parallel_size"] == 2
    assert tree["trainer"]["policy"]["model"]["path"] == "Qwen/Qwen2.5-1.5B-Instruct"
    return "accepted with SGLang; the model of that name trained"


def batched(walk: Walk) -> str:
    """T10."""
    if walk.machine.has_gpu:
        walk.result(WITH_FILE)
    else:
        said(walk, WITH_FILE, "no effect", "generator.batched")
    return "both keys accepted; where they have no effect, a note says so"


def forward_batch(walk: Walk) -> str:
    """T11."""
    return said(walk, WITH_FILE, "trainer.micro_forward_batch_size_per_gpu=1", "trainer.max_tokens_per_microbatch")


def preset(walk: Walk) -> str:
    """T12."""
    line = said(walk, WITH_PRESET, "+experiment=grpo_qwen2.5-0.5b_math500", "GSM8K")
    run = said(walk, WITH_PRESET, "run ", "logs in").partition(":")[0].removeprefix("run ")
    assert "train/policy_loss" in walk.metrics(run)[2]
    return f"{line}; 2 steps in outputs/{run}"


def gae(walk: Walk) -> str:
    """T24."""
    walk.result(GAE)
    figures = walk.metrics(name_of(walk, GAE))[2]
    assert "critic/critic_loss" in figures, sorted(figures)
    return f"a critic on the policy's rank: critic/critic_loss={figures['critic/critic_loss']:.4f} at step 2"


def rloo(walk: Walk) -> str:
    """T25."""
    import torch

    from tetrad_algorithms.advantages.outcomes import AdvantageOptions, Outcomes
    from tetrad_algorithms.advantages.rloo import rloo as estimator

    walk.result(RLOO)
    assert "train/policy_loss" in walk.metrics(name_of(walk, RLOO))[2]
    rewards = torch.tensor([1.0, 1.0, 0.0, 1.0])
    outcomes = Outcomes(rewards_N=rewards, group_N=torch.zeros(4), sample_T=torch.arange(4))
    advantages = [round(one, 4) for one in estimator(outcomes, AdvantageOptions()).token_T.tolist()]
    # By hand: each reward minus the mean of the other three.
    assert advantages == [0.3333, 0.3333, -1.0, 0.3333], advantages
    return f"2 steps; rewards 1, 1, 0, 1 give {advantages}"


def eight_gpus(walk: Walk) -> str:
    """T26."""
    walk.result(EIGHT)
    if 0 < walk.machine.num_gpus < MANY:
        raise NeedsGpuError(f"needs {MANY} GPUs; there are {walk.machine.num_gpus}")
    shown = walk.workshop.run(f"tetrad train --config-path . --config-name {name_of(walk, EIGHT)} --show-config")
    placement = yaml.safe_load(shown.succeeded().out)["trainer"]["placement"]
    counts = {name: placement[f"{name}_num_gpus_per_node"] for name in ("policy", "ref", "critic")}
    assert set(counts.values()) == {8}, counts
    return f"{counts}, though the file of Part 3 says 4 for two of them; a note says which give way"


def attention(walk: Walk) -> str:
    """T27."""
    walk.result(FLASHINFER)
    chosen = {name: attention_backend({}, capability)[0] for name, capability in CAPABILITIES.items()}
    assert chosen == {"T4": "flashinfer", "A100": "flashinfer", "H100": "fa3", "B200": "flashinfer"}, chosen
    asked, why = attention_backend({"attention_backend": "flashinfer"}, CAPABILITIES["H100"])
    assert asked == "flashinfer", why
    return f"by compute capability: {chosen}; what is asked for wins"


CAPABILITIES: Final = {"T4": (7, 5), "A100": (8, 0), "H100": (9, 0), "B200": (10, 0)}


def memory(walk: Walk) -> str:
    """T29."""
    walk.result(MEMORY)
    run = name_of(walk, MEMORY)
    values = {
        key: setting(walk, run, key)
        for key in (
            "generator.gpu_memory_utilization",
            "generator.max_num_seqs",
            "trainer.micro_train_batch_size_per_gpu",
        )
    }
    assert list(values.values()) == [0.6, 256, 4], values
    planned = walk.workshop.run(f"tetrad plan --config-path . --config-name {run}").succeeded().out
    (cut,) = [line.strip() for line in planned.splitlines() if line.startswith("micro-batches")]
    assert "of 4 samples" in cut, cut
    assert "up to 60% of each GPU" in planned, planned
    shares = f"plan: {cut}, engines up to 60% of each GPU"
    return f"{values}; 2 steps; {shares}; where it is short all the same: {shown_by(CUT_SMALLER)}"


def nccl(walk: Walk) -> str:
    """T32."""
    walk.result(WITH_FILE)
    assert setting(walk, "sglang-grpo", "generator.weight_sync_backend") == "nccl"
    logs = "".join(path.read_text(encoding="utf-8") for path in (walk.outputs() / "logs").glob("rollout*.log"))
    chosen = [line for line in logs.splitlines() if "transport_chosen" in line]
    assert chosen, "no rollout says by which way weights came"
    assert LAST_STEP in walk.metrics(), "the run did not go on"
    way = "cuda_ipc" if walk.machine.has_gpu else "shared_memory"
    assert way in chosen[0], chosen[0]
    return f"the log says the way: {way}"


FILE_PROMISES: Final = (
    Promise("T4", "--config-path . is the folder of the shell", config_path),
    Promise("T5", "trainer.ckpt_dir", ckpt_dir),
    Promise("T6", "algorithm.lambda_: 0.95", lambda_),
    Promise("T7", "generator.enable_lora, max_lora_rank", lora, "SGLang serves adapters of its own"),
    Promise("T8", "generator.weight_sync_timeout: 120", sync_timeout),
    Promise("T9", "inference_engine_tensor_parallel_size: 2", tensor_parallel, "an engine over two of them"),
    Promise("T10", "batched: true, async_engine: true", batched),
    Promise("T11", "micro_forward_batch_size_per_gpu may be left out", forward_batch),
    Promise("T12", "+experiment=grpo_qwen2.5-0.5b_math500", preset),
    Promise("T24", "advantage_estimator: gae with a critic's path", gae, "policy, critic and engine by turns"),
    Promise("T25", "advantage_estimator: rloo", rloo),
    Promise("T26", "eight GPUs by policy_num_gpus_per_node alone", eight_gpus, "eight of them at work"),
    Promise("T27", "FlashInfer where FlashAttention 3 does not run", attention, "a run with what was chosen"),
    Promise("T29", "advice for when memory is short", memory, "a GPU that is short of it"),
    Promise("T32", "weight_sync_backend: nccl uses CUDA IPC when colocated", nccl, "CUDA IPC"),
)
