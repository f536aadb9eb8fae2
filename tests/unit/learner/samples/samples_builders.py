"""Journals and tokenizers for tests of `tetrad samples`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tetrad_config import load
from tetrad_config.resolved import dump_resolved
from tetrad_trajectories.journal import JournalSample, JournalStep, step_path, write_step
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.leases import FinishReason, VersionSpan

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def a_written_sample(
    draw: int, index: int, *, ids: Sequence[int] = (1, 2, 3, 4), prompt: int = 2, **changes
) -> JournalSample:
    num_tokens = len(ids)
    mask = (np.arange(num_tokens) >= prompt).astype(np.uint8)
    fields = {
        "draw": draw,
        "index": index,
        "prompt_length": prompt,
        "finish_reason": FinishReason.STOP,
        "spans": (VersionSpan(PolicyVersion(7), int(mask.sum())),),
        "token_ids": np.array(ids, np.int32),
        "loss_mask": mask,
        "rollout_logprobs": (-0.25 * mask).astype(np.float32),
        "reward_positions": np.array([num_tokens - 1], np.int32),
        "reward_values": np.array([float(index)], np.float32),
    }
    return JournalSample(**fields | changes)


def a_group(draw: int, *, size: int = 2, **changes) -> list[JournalSample]:
    return [a_written_sample(draw, index, **changes) for index in range(size)]


def write_journal(folder: Path, steps: dict[int, Sequence[JournalSample]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for step, samples in steps.items():
        ends = (len(samples),)
        whole = JournalStep(run_id="run", step=step, lineage=1, samples=tuple(samples), mini_batch_ends=ends)
        write_step(step_path(folder, step), whole)
    return folder


def a_run(folder: Path, steps: dict[int, Sequence[JournalSample]], *, words: Sequence[str] = ()) -> Path:
    """A run's folder with a journal, and a model folder whose tokens are `words`."""
    model = folder / "model"
    model.mkdir(parents=True)
    if words:
        vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
        Tokenizer(models.WordLevel(vocabulary, unk_token=words[0])).save(str(model / "tokenizer.json"))
    config = load(["+experiment=demo", f"trainer.policy.model.path={model}"], environ={}).config
    (folder / "config.yaml").write_text(dump_resolved(config))
    write_journal(folder / "journal", steps)
    return folder


def a_byte_level_tokenizer() -> Tokenizer:
    """Every byte is a token of its own: a character may take four."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def a_tokenizer_of_pieces(*words: str) -> Tokenizer:
    """Its decoder drops the space before a text's first word, as those of Llama and Gemma do."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer
