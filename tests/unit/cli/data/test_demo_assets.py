"""The demo's assets: token-exact prompts, the split, and a warm start that is worth starting from."""

import json
from pathlib import Path

import pytest

import tetrad_config
from tetrad_cli.data.arithmetic import split, to_rows
from tetrad_trajectories.dataset import Dataset

DEMO = Path(tetrad_config.__file__).parent / "assets" / "demo"
BOS, EOS = 14, 13


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(DEMO / "warm_start", local_files_only=True)


def render(tokenizer, *messages):
    conversation = [{"role": role, "content": content} for role, content in messages]
    return tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=True, return_dict=False)


def test_a_prompt_is_bos_and_one_token_per_character(tokenizer):
    assert render(tokenizer, ("user", "37+58=")) == [BOS, 3, 7, 10, 5, 8, 11]
    assert tokenizer.decode([BOS, 3, 7, 10, 5, 8, 11]) == "<bos>37+58="


def test_an_answer_decodes_without_spaces_and_special_tokens(tokenizer):
    assert tokenizer.decode([9, 5, EOS], skip_special_tokens=True) == "95"
    assert tokenizer.decode([1, 0, 7, EOS, 12, 12], skip_special_tokens=True) == "107"


def test_an_unknown_symbol_shows_in_the_text(tokenizer):
    assert tokenizer.encode("9 5") == [9, 15, 5]
    assert tokenizer.decode([9, 15, 5, EOS], skip_special_tokens=True) == "9<unk>5"


def test_a_longer_conversation_begins_with_the_shorter_one(tokenizer):
    short = render(tokenizer, ("user", "37+58="))
    long = render(tokenizer, ("user", "37+58="), ("assistant", "95"), ("user", "1+1="))

    assert long == [*short, 9, 5, EOS, 1, 10, 1, 11]


def test_the_tokenizer_names_its_special_tokens_as_the_model_does(tokenizer):
    config = json.loads((DEMO / "warm_start/config.json").read_text())

    ids = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id)
    assert ids == (config["pad_token_id"], config["eos_token_id"], config["bos_token_id"]) == (12, EOS, BOS)
    assert len(tokenizer) == config["vocab_size"] == 16


def test_the_files_hold_the_split_of_all_two_digit_sums():
    exercises = split(2)

    assert list(Dataset.read([DEMO / "train.jsonl"])) == to_rows(exercises.train, split_name="train")
    assert list(Dataset.read([DEMO / "validation.jsonl"])) == to_rows(exercises.held_out, split_name="validation")


def test_the_warm_start_answers_greedily_well_and_samples_badly(tokenizer):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(DEMO / "warm_start")
    rows = list(Dataset.read([DEMO / "validation.jsonl"]))
    prompts = torch.tensor([render(tokenizer, ("user", row.prompt[0].content)) for row in rows])

    greedy = share_right(tokenizer, generate(model, prompts, do_sample=False), rows)
    torch.manual_seed(0)
    sampled = share_right(tokenizer, generate(model, prompts, do_sample=True, temperature=1.0, top_k=0), rows)

    assert greedy >= 0.80
    assert 0.2 <= sampled <= 0.35


def generate(model, prompts, **options):
    output = model.generate(prompts, attention_mask=prompts.ne(12).long(), max_new_tokens=4, **options)
    return output[:, prompts.shape[1] :]


def share_right(tokenizer, answers, rows):
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    return sum(text == row.ground_truth for text, row in zip(texts, rows, strict=True)) / len(rows)
