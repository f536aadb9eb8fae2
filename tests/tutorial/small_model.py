"""A small Qwen2 with a chat template that learns for seconds, from a careless teacher, how answers look."""

import random
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tutorial.problems import Problem, problems

PAD, TURN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# ChatML, as Qwen2.5 has it: turns only append.
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}"
    f"{TURN}{{{{ message['role'] }}}}\n{{{{ message['content'] }}}}{END}\n"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{TURN}assistant\n{{% endif %}}"
)
STEPS, BATCH_SIZE, LEARNING_RATE = 60, 16, 3e-3
RIGHT_SHARE: Final = 0.5
"""Of the teacher's answers."""
IGNORED: Final = -100
"""Label of tokens that are not learnt."""


def save_small_model(folder: Path, *, layers: int) -> None:
    """Make one and write it as a Hugging Face folder."""
    rng = random.Random(layers)
    torch.manual_seed(layers)
    # Its matrices are so small that a second thread costs more than it brings.
    torch.set_num_threads(1)
    tokenizer = _tokenizer(rng)
    tokenizer.save_pretrained(folder)
    _taught(_blank(tokenizer, layers=layers), tokenizer, rng).save_pretrained(folder)


def save_small_tokenizer(folder: Path) -> None:
    """Write its tokenizer alone."""
    _tokenizer(random.Random(0)).save_pretrained(folder)


def _tokenizer(rng: random.Random) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=[PAD, TURN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator((message["content"] for one in problems(rng, 300) for message in one.messages), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, pad_token=PAD, chat_template=CHAT_TEMPLATE)


def _blank(tokenizer: PreTrainedTokenizerFast, *, layers: int) -> Qwen2ForCausalLM:
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            # Heads of 64, the smallest that attention kernels of engines take; two, so that an engine may be split.
            hidden_size=128,
            intermediate_size=192,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )


def _taught(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Qwen2ForCausalLM:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 20, (STEPS - step) / 40)
        inputs = _batch(tokenizer, rng)
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def _batch(tokenizer: Any, rng: random.Random) -> dict[str, torch.Tensor]:
    rows = [_lesson(tokenizer, one, rng) for one in problems(rng, BATCH_SIZE)]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((BATCH_SIZE, width), tokenizer.pad_token_id)
    labels = torch.full((BATCH_SIZE, width), IGNORED)
    for row, (prompt, answer) in enumerate(rows):
        ids[row, : len(prompt) + len(answer)] = torch.tensor([*prompt, *answer])
        labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    # Padding follows everything that is looked at: no mask is needed under causal attention.
    return {"input_ids": ids, "labels": labels}


def _lesson(tokenizer: Any, problem: Problem, rng: random.Random) -> tuple[list[int], list[int]]:
    total = problem.x + problem.y
    said = total if rng.random() < RIGHT_SHARE else rng.randint(3, 7)
    prompt = tokenizer.apply_chat_template(problem.messages, add_generation_prompt=True, tokenize=False)
    return tokenizer.encode(prompt), tokenizer.encode(f"#### {said}{END}")
