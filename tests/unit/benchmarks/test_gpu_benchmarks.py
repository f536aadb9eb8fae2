"""What the benchmarks of a GPU make of their figures; none of it needs one."""

import json
from pathlib import Path

import pytest
from aims import aim_of, read_name
from engine_models import RARE_TOKEN, endless
from gsm8k_figures import answer_figures, memory_figures, read_records, score_figures, step_figures
from gsm8k_run_file import Sizes, overrides
from rollout_peers import a_config
from rollout_site import PREFILLED_TOKENS, PROMPT_TOKENS, counters
from rollout_turn import Batch, Turn, in_turns, ratio_figures, side_figures
from weight_sync_gpu import joined, summary

from tetrad_config import dump_resolved, load, load_resolved

SIZES = Sizes(prompts=64, mini_prompts=64, samples=8, tokens=256, steps=10, eval_interval=5)


def a_turn(seconds: float, *, num_tokens: int = 1000) -> Turn:
    return Turn(seconds=seconds, num_tokens=num_tokens, full_share=1.0, cached_share=0.5)


def test_a_turn_is_compared_with_its_neighbour_and_the_best_with_the_best():
    service, bare = [a_turn(1.0), a_turn(4.0), a_turn(2.0)], [a_turn(1.0), a_turn(2.0), a_turn(1.0)]

    assert ratio_figures("_0.5b", service, bare) == {
        "service_over_bare_engine_0.5b_ratio": 0.5,
        "service_over_bare_engine_0.5b_best_ratio": 1.0,
    }


def test_tokens_that_were_sampled_count_not_those_that_were_asked_for():
    figures = side_figures("service", "smollm2", [a_turn(2.0, num_tokens=500)])

    assert figures["service_tokens_per_second_smollm2"] == 250.0


@pytest.mark.parametrize(("left_s", "rounds"), [(1e9, [1, 2, 3]), (0.0, [1])])
async def test_sides_take_turns_the_warm_up_is_left_out_and_no_round_begins_that_would_be_late(left_s, rounds):
    played = []

    def a_side(name: str):
        async def play(number: int) -> int:
            played.append(name)
            return number

        return play

    found = await in_turns([a_side("a"), a_side("b")], num_rounds=3, left_s=lambda: left_s)

    assert found == [rounds, rounds]
    assert played == ["a", "b"] * (1 + len(rounds))


def test_no_two_prompts_of_a_run_are_alike():
    batch = Batch(num_prompts=16)

    messages = [message for turn in range(4) for message in batch.messages(turn)]

    assert len(set(messages)) == 64


def test_cached_tokens_are_found_on_the_page_of_a_replica():
    page = f"# HELP {PROMPT_TOKENS} Prompt.\n{PROMPT_TOKENS} 64.0\n{PREFILLED_TOKENS} 16.0\nother 1.0\n"

    assert counters(page) == {PROMPT_TOKENS: 64.0, PREFILLED_TOKENS: 16.0}


def test_the_run_file_of_a_replica_is_one_that_services_read(tmp_path: Path):
    config = a_config(tmp_path, backend="sglang", attention="triton", folder=tmp_path, max_samples=1024, num_tokens=256)
    (tmp_path / "config.yaml").write_text(dump_resolved(config))

    generator = load_resolved(tmp_path / "config.yaml").generator

    assert generator.engine_init_kwargs["attention_backend"] == "triton"
    assert generator.engine_init_kwargs["max_total_tokens"] >= 1024 * (64 + 256)
    assert generator.max_num_seqs // generator.n_samples_per_prompt == 256


def test_an_endless_model_differs_in_its_end_alone(tmp_path: Path):
    source = tmp_path / "model"
    source.mkdir()
    (source / "config.json").write_text(json.dumps({"eos_token_id": 2, "hidden_size": 8}))
    (source / "model.safetensors").write_bytes(b"weights")

    folder = endless(source, tmp_path / "endless")

    assert json.loads((folder / "config.json").read_text()) == {"eos_token_id": RARE_TOKEN, "hidden_size": 8}
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert json.loads((source / "config.json").read_text())["eos_token_id"] == 2


def test_an_update_runs_from_the_gather_to_the_proven_engine():
    published = {"began": 1.0, "ended": 1.5, "gather": 0.25, "digest": 0.125, "share": 0.125, "num_bytes": 8}
    synced = {"began": 1.625, "ended": 2.0, "pause": 0.25, "load": 0.1, "transport": "cuda_ipc"}

    update = joined(published, synced)

    assert (update["end_to_end"], update["order"], update["is_cuda_ipc"]) == (1.0, 0.125, 1.0)


def test_p99_of_twenty_is_the_slowest():
    updates = [{"pause": float(number), "num_bytes": 1e9, "is_cuda_ipc": 1.0} for number in range(20)]

    figures = summary(updates)

    assert (figures["pause_p50_seconds"], figures["pause_p99_seconds"]) == (9.5, 19.0)


def test_a_line_that_is_still_being_written_is_left_alone(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "metrics": {"timing/step": 2.0}}\n{"step": 2, "met')

    assert read_records(path) == [(1, {"timing/step": 2.0})]
    assert read_records(tmp_path / "missing.jsonl") == []


def test_the_first_step_is_shown_and_not_counted():
    records = [(number, {"timing/step": seconds, "timing/train": 1.0}) for number, seconds in ((1, 9.0), (2, 2.0))]

    figures = step_figures(records)

    assert (figures["first_step_seconds"], figures["step_p50_seconds"], figures["train_p50_seconds"]) == (9.0, 2.0, 1.0)
    assert step_figures([(0, {"eval/all/mean_reward": 1.0})]) == {}


def test_accuracy_is_that_of_the_first_and_the_last_evaluation():
    records = [
        (step, {"eval/all/mean_reward": score, "eval/all/mean_reward_flexible": score})
        for step, score in ((0, 0.1), (5, 0.9), (10, 0.3))
    ]

    figures = score_figures(records)

    assert (figures["flexible_before_correct_share"], figures["flexible_after_correct_share"]) == (0.1, 0.3)
    assert "strict_before_correct_share" not in figures


def test_the_format_is_what_the_prompt_asks_for(tmp_path: Path):
    for step, answers in ((0, ["5", "no idea"]), (10, ["#### 5", "so 5"]), (5, ["", ""])):
        folder = tmp_path / f"global_step_{step}_evals"
        folder.mkdir()
        (folder / "gsm8k.jsonl").write_text("".join(json.dumps({"output_response": a}) + "\n" for a in answers))
        (folder / "aggregated_results.jsonl").write_text("{}\n")

    assert answer_figures(tmp_path) == {"format_before_share": 0.0, "format_after_share": 0.5, "evaluation_samples": 2}
    assert answer_figures(tmp_path / "missing") == {}


def test_a_summary_without_a_memory_ledger_has_no_memory_figures():
    held = {"before": 0, "after": 0, "most": 3 << 30}
    summary_of_a_run = {"device_phases": {"train": {"times": 1, "seconds": 2.0, "bytes": {"trainer-0": held}}}}

    assert memory_figures(summary_of_a_run) == {"memory_train_trainer_0_gib": 3.0}
    assert memory_figures({"steps": 3}) == {}


@pytest.mark.parametrize("backend", ["sglang", "transformers"])
def test_the_run_file_of_the_loop_is_accepted(backend: str, tmp_path: Path):
    words = overrides(
        SIZES, model=tmp_path, train=tmp_path / "a", test=tmp_path / "b", run_dir=tmp_path / "run", backend=backend
    )

    config = load(words, environ={}).config

    assert config.trainer.placement.colocate_all is (backend == "sglang")
    assert config.generator.engine_init_kwargs.get("cuda_graph_bs_decode", [1024])[-1] == 1024


@pytest.mark.parametrize(
    ("benchmark", "metric", "bound"),
    [
        ("rollout", "service_over_bare_engine_ratio", "≥ 0.95"),
        ("rollout", "service_over_bare_engine_0.5b_ratio", "≥ 0.95"),
        ("weight_sync", "same_gpu_0.5b_end_to_end_p50_seconds", "≤ 0.05"),
        ("weight_sync", "same_gpu_1.5b_end_to_end_p50_seconds", "≤ 0.08"),
        ("weight_sync", "same_gpu_1.5b_pause_p50_seconds", "≤ 0.03"),
        ("gsm8k_loop", "tutorial_step_p50_seconds", "≤ 144"),
    ],
)
def test_what_should_be_reached_is_an_aim(benchmark: str, metric: str, bound: str):
    assert str(aim_of(benchmark, metric)) == bound
    assert read_name(metric).unit in {"×", "s"}


@pytest.mark.parametrize(
    "metric",
    [
        "service_over_bare_engine_best_ratio",
        "tokens_per_second_fa3",
        "service_smollm2_cached_tokens_share",
        "same_gpu_0.5b_in_flight_pause_p99_seconds",
        "same_gpu_0.5b_logprob_difference_before_nats",
        "gsm8k_strict_after_correct_share",
        "gsm8k_trained_steps",
        "tutorial_memory_train_rollout_0_gib",
    ],
)
def test_the_table_can_read_every_kind_of_figure(metric: str):
    assert read_name(metric).what
