"""Each trouble of the catalogue, provoked: its message is told from all others, and what it advises exists."""

import asyncio
import importlib
import re
from pathlib import Path

import pytest
from unit.cli.troubles.running_provocations import RUNNING, cut_smaller, grouped
from unit.cli.troubles.starting_provocations import STARTING

from tetrad_cli.catalog import BUILTINS, FROM_SERVICES
from tetrad_cli.troubles.catalog import TROUBLES, troubles_in
from tetrad_cli.troubles.trouble import When
from tetrad_config.schema import fields, free_form_parent, section_at
from tetrad_config.section import DottedKey

PROVOKED = {**STARTING, **RUNNING}
ALONE = {"micro-batches-cut-smaller", "group-broken"}
WORDS: dict[str, tuple[str, str]] = {
    "unknown-key": (r"trainer\.train_batchsize: unknown key", r"did you mean trainer\.train_batch_size\?"),
    "uneven-batch": (r"5 does not divide trainer\.train_batch_size=32", r"use 4 or 8"),
    "too-few-rows": (r"32 prompts per step is more than the 3 rows", r"set it to 3 or less"),
    "sglang-missing": (r"asks for sglang; sglang is not installed", r"fix: generator\.backend=transformers"),
    "too-few-gpus": (r"asks for 5 GPUs .* this machine has 1", r"fix: .*policy_num_gpus_per_node=1"),
    "attention-backend": (r"needs compute capability .* has 10\.0", r"fix: ~generator\.engine_init_kwargs\.att"),
    "model-missing": (r"none; there is no such model folder", r"fix: run `tetrad data smollm2"),
    "data-missing": (r"none\.parquet; there is no such file", r"fix: data\.train_data="),
    "no-chat-template": (r"has no chat template", r"copy chat_template\.jinja from the instruct model"),
    "adapter-target-unknown": (r"asks for q_projj", r"linear layers .* are down_proj, .* q_proj"),
    "run-exists": (r"holds an earlier run", r"trainer\.resume_mode=latest goes on .*trainer\.overwrite=true clears it"),
    "learnt-otherwise": (r"trainer\.seed: 1 is now 2", r"set them back, choose another trainer\.run_name"),
    "checkpoint-of-another-model": (r"num_hidden_layers 99 and not 2", r"name the model that its run began with"),
    "checkpoint-damaged": (r"config\.json is missing or differs", r"choose another checkpoint"),
    "no-prompt-column": (r"row 0 .* has no column prompt, but question", r"a prompt is .*tetrad data --help"),
    "prompt-is-text": (r"row 0 .* bare string would bypass the chat template", r"write \[.* instead"),
    "broken-chat-template": (r"error in line 1: Unexpected end", r"mend it in the model folder"),
    "unknown-environment": (r"no environment 'gsm9k'", r"did you mean 'gsm8k'\?"),
    "unknown-engine-argument": (r"atention_backend is no argument", r"did you mean attention_backend\?"),
    "engine-share-too-small": (r"holds the weights and no KV cache", r"set generator\.gpu_memory_utilization=0\.22"),
    "engine-gpu-full": (
        r"the GPU was full .*Tried to allocate",
        r"lower generator\.gpu_memory_utilization.*max_num_seqs",
    ),
    "out-of-memory": (r"out of memory in a train pass", r"trainer\.policy\.fsdp_config\.cpu_offload=true"),
    "engine-cannot-wake": (r"needs [\d.]+ GiB .* are free", r"lower generator\.gpu_memory_utilization"),
    "weight-sync-timeout": (r"rollout-0 had not taken version 1 .*: staging .* at inproc:", r"raise the timeout"),
    "publish-timeout": (
        r"broadcaster had not accepted version 1 from rank 0",
        r"raise `generator\.weight_sync_timeout`",
    ),
    "weights-damaged": (r"tensor weight has digest", r"have the memory and the network of the host tested"),
    "shared-memory-short": (r"needs \d+ bytes in /dev/shm, which has", r"enlarge it \(in a container: --shm-size\)"),
    "poisoned-step": (r"rewards is nan in step 1", r"`--skip-step N`"),
    "prompt-too-long": (r"13 tokens; trainer\.max_prompt_length is 4", r"raise it or drop the prompt"),
    "template-refuses-prompt": (
        r"refuses messages by system: no system prompt",
        r"change the prompts, or the template",
    ),
    "ranks-silent": (r"no progress from the ranks for 100 s; .* rank 0: nothing heard", r"rank that is named first"),
    "no-certified-engine": (r"no engine certified for version 1 within 50 s", r"Look at `logs/rollout-\*\.log`"),
}
"""What a user must be able to read of each trouble: its cause with names and numbers, and what to do about it."""
KEY = re.compile(r"`\+?((?:trainer|generator|data|environment|reward)\.[\w.]+)")
COMMAND = re.compile(r"`tetrad (\w+)")


def seen(message: str) -> str:
    """All that the user reads without asking, or what `tetrad explain` adds to a line in the log of a run that goes on.

    Before a start that is the message alone; below one that ends a run is what the catalogue advises.
    """
    (trouble,) = troubles_in([message])
    if trouble.when is When.BEFORE:
        return message
    return "\n".join([message, *(trouble.lines() if trouble.code is None else [trouble.advice()])])


def slugs_in(message: str) -> list[str]:
    return [trouble.slug for trouble in troubles_in([message])]


def test_every_trouble_is_provoked_here_and_has_its_words() -> None:
    assert set(PROVOKED) | ALONE == set(TROUBLES)
    assert set(WORDS) == set(PROVOKED)


@pytest.mark.parametrize("slug", PROVOKED)
@pytest.mark.timeout(120)
def test_its_message_is_known_for_no_other_trouble_and_the_user_reads_cause_and_fix(slug: str, tmp_path: Path) -> None:
    message = PROVOKED[slug](tmp_path)

    assert slugs_in(message) == [slug], message
    cause, fix = WORDS[slug]
    assert re.search(cause, message, re.DOTALL), message
    assert re.search(fix, seen(message), re.DOTALL), seen(message)


def test_micro_batches_that_were_cut_smaller_are_a_warning_with_the_override(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = cut_smaller(tmp_path, capsys)

    assert slugs_in(message) == ["micro-batches-cut-smaller"]
    assert "trainer.micro_train_batch_size_per_gpu=2" in message


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_group_that_breaks_names_peer_and_phase() -> None:
    message = asyncio.run(grouped())

    assert slugs_in(message) == ["group-broken"], message
    assert re.search(r"with the broadcaster broke in \w+ after", message)
    assert "mend the network" in seen(message)


@pytest.mark.parametrize("slug", TROUBLES)
def test_what_it_names_exists(slug: str) -> None:
    trouble = TROUBLES[slug]
    module, _, name = trouble.raised.partition(":")

    assert hasattr(importlib.import_module(module), name), trouble.raised
    for text in (trouble.cause, trouble.fix):
        for key in map(DottedKey, KEY.findall(text)):
            path = tuple(key.split("."))
            assert key in fields() or section_at(path) or free_form_parent(key), f"{slug} names {key}"
        for command in COMMAND.findall(text):
            assert command in {**BUILTINS, **FROM_SERVICES}, f"{slug} names tetrad {command}"
