"""From a run's knobs to SGLang's arguments."""

from pathlib import Path

import pytest

from tetrad_rollout.engine import BatchSettings, EngineSettings
from tetrad_rollout.engine.server_options import AdapterOptions, ServerOptions
from tetrad_rollout.engine.sglang.arguments import UnknownArgumentError, abilities, server_arguments

KNOWN = frozenset(
    {"attention_backend", "mem_fraction_static", "context_length", "model_path", "watchdog_timeout", "dist_timeout"}
)
HOPPER = (9, 0)


def arguments_of(capability=HOPPER, *, batch=None, **options):
    settings = EngineSettings(
        model_path=Path("m"), dtype="bfloat16", batch=batch or BatchSettings(), server=ServerOptions(**options)
    )
    return server_arguments(settings, known=KNOWN, capability=capability)


@pytest.mark.parametrize(
    ("option", "value", "argument", "expected"),
    [
        ("memory_share", 0.6, "mem_fraction_static", 0.6),
        ("max_prefill_tokens", 4096, "chunked_prefill_size", 4096),
        ("is_prefill_chunked", False, "chunked_prefill_size", -1),
        ("is_prefix_cached", False, "disable_radix_cache", True),
        ("is_eager", True, "disable_cuda_graph", True),
        ("tensor_parallel_size", 2, "tp_size", 2),
        ("step_timeout_s", 90.0, "watchdog_timeout", 90.0),
        ("group_timeout_s", 299.5, "dist_timeout", 300),
        ("may_sleep", True, "enable_memory_saver", True),
    ],
)
def test_each_knob_becomes_an_argument(option, value, argument, expected):
    before, _ = arguments_of()
    after, _ = arguments_of(**{option: value})

    assert before.get(argument) != expected
    assert after[argument] == expected


def test_the_size_and_the_mode_of_batches_are_passed_on():
    arguments, _ = arguments_of(batch=BatchSettings(max_num_seqs=77, is_deterministic=True))

    assert (arguments["max_running_requests"], arguments["enable_deterministic_inference"]) == (77, True)


@pytest.mark.parametrize(
    ("capability", "backend"),
    [((9, 0), "fa3"), ((8, 0), "flashinfer"), ((10, 0), "flashinfer"), (None, "torch_native")],
)
def test_attention_follows_the_gpu_and_the_reason_is_said(capability, backend):
    arguments, reason = arguments_of(capability)

    assert arguments["attention_backend"] == backend
    assert "compute capability" in reason or capability is None


def test_what_is_asked_for_by_the_servers_own_name_wins():
    extra = {"attention_backend": "triton", "mem_fraction_static": 0.3, "watchdog_timeout": 7.0}
    arguments, reason = arguments_of(extra=extra)

    assert {name: arguments[name] for name in extra} == extra
    assert "engine_init_kwargs.attention_backend" in reason


def test_an_unknown_argument_is_refused_with_the_nearest():
    with pytest.raises(UnknownArgumentError, match=r"context_lenght is no argument .*did you mean context_length"):
        arguments_of(extra={"context_lenght": 4})


def test_an_argument_that_the_engine_rests_on_may_not_be_set():
    with pytest.raises(UnknownArgumentError, match="model_path may not be set"):
        arguments_of(extra={"model_path": "x"})


def test_a_base_that_nobody_brings_again_is_kept_while_the_engine_sleeps():
    adapters = AdapterOptions(rank=8, target_modules=("all-linear",))
    arguments, _ = arguments_of(may_sleep=True, adapters=adapters)

    assert arguments["enable_weights_cpu_backup"]
    assert (arguments["max_lora_rank"], arguments["lora_target_modules"]) == (8, ["all"])


@pytest.mark.parametrize(
    ("options", "ability", "expected"),
    [
        ({"tensor_parallel_size": 2}, "tp_size", 2),
        ({"is_eager": True}, "cuda_graphs", False),
        ({"is_prefix_cached": False}, "radix_cache", False),
        ({"may_sleep": True}, "memory_saver", True),
        ({"adapters": AdapterOptions(rank=8, target_modules=("q_proj",))}, "lora", True),
        ({"batch": BatchSettings(is_deterministic=True)}, "deterministic", True),
        ({"capability": (10, 0)}, "capability", "10.0"),
        ({"capability": None}, "cuda_graphs", False),
        ({"capability": None}, "capability", "none"),
    ],
)
def test_what_a_server_can_do_is_told_for_the_log(options, ability, expected):
    before, after = arguments_of()[0], arguments_of(**options)[0]

    assert abilities(before, HOPPER)[ability] != expected
    assert abilities(after, options.get("capability", HOPPER))[ability] == expected
