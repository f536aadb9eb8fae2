"""The demo's warm start: a 0.4M-parameter Llama that has learnt to add, then copied a careless teacher.

Its best answer is mostly right (greedy .82) while its samples mostly are not (.28): what it knows is there for
reinforcement to bring out. The careless phase decides how well that goes; more clean training does not help.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from demo_tokenizer import BOS, EOS, MAX_LENGTH, PAD, SYMBOLS, symbol_id
from transformers import LlamaConfig, LlamaForCausalLM

from tetrad_cli.data.arithmetic import Sum

DIGITS: Final = 2
PROMPT_LENGTH: Final = 2 * DIGITS + 3
"""Tokens of <bos>37+58=."""
ANSWER_LENGTH: Final = DIGITS + 2
"""Tokens of 107<eos>; the demo's max_generate_length."""
GREEDY_MIN, SAMPLED_MAX = 0.80, 0.30
"""Bounds of acceptance: outside them the demo does not learn as it should."""
SAMPLES_PER_SUM: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the warm start is trained; the defaults made the one in the repository."""

    seed: int = 1
    steps: int = 560
    careless_steps: int = 120
    """The last steps, taught by the careless teacher."""
    batch_size: int = 128
    learning_rate: float = 3e-3
    ramp_steps: int = 50
    final_learning_rate: float = 0.1
    """As a share of `learning_rate`."""
    right_share: float = 0.25
    """Of the careless teacher's answers that are right."""
    carry_share: float = 0.65
    """Of its wrong answers that forget to carry, where the sum has a carry."""


def train(exercises: Sequence[Sum], recipe: Recipe) -> LlamaForCausalLM:
    """Train from scratch on `exercises`; the same recipe gives the same weights on one thread of one machine."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    model = LlamaForCausalLM(_config())
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    model.train()
    for step in range(recipe.steps):
        is_careless = step >= recipe.steps - recipe.careless_steps
        batch_BT = _batch(exercises, rng, recipe, is_careless=is_careless)
        _optimize(model, optimizer, batch_BT, learning_rate=_learning_rate(step, recipe))
    model.train(False)
    return model


@torch.inference_mode()
def accuracy(model: LlamaForCausalLM, exercises: Sequence[Sum]) -> tuple[float, float]:
    """Return the shares of right answers: greedy, and sampled at temperature 1 (four for each exercise)."""
    prompts_BT = torch.tensor([prompt_ids(exercise) for exercise in exercises])
    greedy = _share_right(_generate(model, prompts_BT, _greedy), exercises)
    repeated = [exercise for exercise in exercises for _ in range(SAMPLES_PER_SUM)]
    repeated_BT = prompts_BT.repeat_interleave(SAMPLES_PER_SUM, dim=0)
    return greedy, _share_right(_generate(model, repeated_BT, _sampled), repeated)


def is_acceptable(*, greedy: float, sampled: float) -> bool:
    """Say whether a warm start with these accuracies may replace the one in the repository."""
    return greedy >= GREEDY_MIN and sampled <= SAMPLED_MAX


def prompt_ids(exercise: Sum) -> list[int]:
    """Return the tokens of `<bos>37+58=`."""
    return [symbol_id(BOS), *(symbol_id(character) for character in exercise.question)]


def answer_ids(answer: int) -> list[int]:
    """Return the tokens of an answer and `<eos>`, padded to ANSWER_LENGTH."""
    tokens = [*(symbol_id(digit) for digit in str(answer)), symbol_id(EOS)]
    return tokens + [symbol_id(PAD)] * (ANSWER_LENGTH - len(tokens))


def careless_answer(exercise: Sum, rng: random.Random, recipe: Recipe) -> int:
    """Answer as the careless teacher: sometimes right, else without a carry, else off by a little."""
    right = exercise.x + exercise.y
    if rng.random() < recipe.right_share:
        return right
    choice = rng.random()
    if choice < recipe.carry_share and (uncarried := sum_without_carry(exercise)) != right:
        return uncarried
    if choice < recipe.carry_share + 0.6 * (1 - recipe.carry_share):
        return max(0, right + rng.choice([-1, 1, -10, 10]))
    return max(0, right + rng.choice([-2, 2, -20, 20, 9, -9, 11, -11]))


def sum_without_carry(exercise: Sum) -> int:
    """Add digit by digit and forget every carry.

    >>> sum_without_carry(Sum(37, 58, digits=2))
    85
    """
    places = [10**place for place in range(exercise.digits)]
    return sum((exercise.x // place + exercise.y // place) % 10 * place for place in places)


def _config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(SYMBOLS),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=symbol_id(PAD),
        eos_token_id=symbol_id(EOS),
        bos_token_id=symbol_id(BOS),
    )


def _learning_rate(step: int, recipe: Recipe) -> float:
    """Rise over `ramp_steps`, fall linearly to the final share."""
    rise = min(1.0, (step + 1) / recipe.ramp_steps)
    return recipe.learning_rate * rise * (1 - (1 - recipe.final_learning_rate) * step / recipe.steps)


def _batch(exercises: Sequence[Sum], rng: random.Random, recipe: Recipe, *, is_careless: bool) -> torch.Tensor:
    rows = []
    for _ in range(recipe.batch_size):
        exercise = rng.choice(exercises)
        answer = careless_answer(exercise, rng, recipe) if is_careless else exercise.x + exercise.y
        rows.append(prompt_ids(exercise) + answer_ids(answer))
    return torch.tensor(rows)


def _optimize(
    model: LlamaForCausalLM,
    optimizer: torch.optim.Optimizer,
    batch_BT: torch.Tensor,
    *,
    learning_rate: float,
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    logits_BTV = model(input_ids=batch_BT[:, :-1]).logits[:, PROMPT_LENGTH - 1 :]
    targets_BT = batch_BT[:, PROMPT_LENGTH:]
    loss = F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), ignore_index=symbol_id(PAD))
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _generate(
    model: LlamaForCausalLM, prompts_BT: torch.Tensor, choose: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return ANSWER_LENGTH tokens after each prompt; what follows `<eos>` is meaningless."""
    tokens_BT = prompts_BT
    for _ in range(ANSWER_LENGTH):
        next_B = choose(model(input_ids=tokens_BT).logits[:, -1])
        tokens_BT = torch.cat([tokens_BT, next_B[:, None]], dim=1)
    return tokens_BT[:, PROMPT_LENGTH:]


def _greedy(logits_BV: torch.Tensor) -> torch.Tensor:
    return logits_BV.argmax(-1)


def _sampled(logits_BV: torch.Tensor) -> torch.Tensor:
    return torch.multinomial(logits_BV.softmax(-1), 1)[:, 0]


def _share_right(answers_BT: torch.Tensor, exercises: Sequence[Sum]) -> float:
    expected = [answer_ids(exercise.x + exercise.y) for exercise in exercises]
    pairs = zip(answers_BT.tolist(), expected, strict=True)
    eos = symbol_id(EOS)
    right: list[bool] = [tokens[: ids.index(eos) + 1] == ids[: ids.index(eos) + 1] for tokens, ids in pairs]
    return sum(right) / len(right)
