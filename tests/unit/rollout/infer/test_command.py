"""`tetrad infer` with a tiny model: what transformers would say, streamed, in order, as text and as JSON."""

import io
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from unit.rollout.engine_builders import a_llama, a_model_folder, a_tokenizer

from tetrad_rollout.infer.command import main


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return a_model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture
def infer(model, capsys, monkeypatch):
    """Run the command on the tiny model; return exit code, output and errors."""

    # Test processes share the cores.
    torch.set_num_threads(1)

    def run(*words, stdin="", folder=model):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin) if isinstance(stdin, str) else stdin)
        code = main(["--model", str(folder), "--device", "cpu", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def by_transformers(folder, prompt, *, max_tokens):
    """The greedy answer of `generate`, as the tutorial asks for it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    messages = [{"role": "user", "content": prompt}]
    inputs = tokenizer.apply_chat_template(messages, return_tensors="pt", add_generation_prompt=True, return_dict=True)
    output = loaded.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
    return tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_a_greedy_answer_is_that_of_generate(infer, model):
    code, out, err = infer("--prompt", "what is it?", "--max-tokens", "24")

    assert (code, out) == (0, by_transformers(model, "what is it?", max_tokens=24) + "\n")
    assert err.startswith("1 answer, ")


def test_several_prompts_are_answered_in_order_under_their_headlines(infer, model):
    prompts = [f"what is {letter}?" for letter in "abcdef"]
    words = [word for prompt in prompts for word in ("--prompt", prompt)]

    _, out, _ = infer(*words, "--max-tokens", "9", "--max-num-seqs", "4")

    answers = [by_transformers(model, prompt, max_tokens=9) for prompt in prompts]
    blocks = [
        f"[{number}] {prompt}\n{answer}\n"
        for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), start=1)
    ]
    assert out == "\n".join(blocks)


def test_a_seed_gives_the_same_samples_again_and_its_samples_differ(infer):
    words = (
        "--prompt",
        "sing",
        "--temperature",
        "1.0",
        "--top-p",
        "0.9",
        "--samples",
        "3",
        "--max-tokens",
        "20",
        "--json",
    )

    first, again, other = (infer(*words, "--seed", seed)[1] for seed in ("1", "1", "2"))

    rows = [json.loads(line) for line in first.splitlines()]
    assert first == again != other
    assert [(row["sample"], row["seed"]) for row in rows] == [(0, 1), (1, 2), (2, 3)]
    assert len({row["response"] for row in rows}) == 3
    # The second sample of seed 1 is the first of seed 2: nothing but weights, prompt and seed decides.
    assert json.loads(other.splitlines()[0])["response"] == rows[1]["response"]


def test_rows_keep_their_columns_and_get_what_grading_needs(infer, tmp_path):
    rows = [{"prompt": [{"role": "user", "content": "13+54="}], "reward_spec": {"ground_truth": "67"}}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    _, out, _ = infer("--file", str(tmp_path / "rows.jsonl"), "--json", "--max-tokens", "3")

    (answer,) = map(json.loads, out.splitlines())
    assert answer.keys() >= rows[0].keys() | {"response", "finish_reason", "num_tokens", "num_prompt_tokens"}
    assert answer["reward_spec"] == {"ground_truth": "67"}


def test_an_answer_ends_before_a_stop_string_and_one_at_the_limit_is_counted(infer, model):
    whole = by_transformers(model, "go on", max_tokens=24)
    stop = whole[5:7]

    _, out, _ = infer("--prompt", "go on", "--max-tokens", "24", "--stop", stop)
    _, _, err = infer("--prompt", "go on", "--max-tokens", "2")

    assert out == whole[: whole.find(stop)] + "\n"
    assert err.endswith("on cpu; 1 cut off at 2 tokens (--max-tokens)\n")


def test_raw_continues_the_text_itself(infer, model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    ids = torch.tensor([tokenizer.encode("once upon")])

    _, out, _ = infer("--raw", "--prompt", "once upon", "--max-tokens", "8")

    expected = loaded.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)[
        0, ids.shape[1] :
    ]
    assert out == tokenizer.decode(expected, skip_special_tokens=True) + "\n"


def test_at_a_terminal_each_line_is_answered_before_the_next_is_read(infer):
    code, out, err = infer("--max-tokens", "4", stdin=Terminal("one\ntwo\n"))

    assert code == 0
    assert len(out.splitlines()) == 2
    assert err.count("> ") == 3


def test_adapters_on_their_own_are_merged_into_their_base(infer, model, tmp_path):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=64, init_lora_weights=False, target_modules="all-linear", task_type="CAUSAL_LM")
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    wrapped = get_peft_model(base, config)
    wrapped.save_pretrained(tmp_path / "adapter")
    merged = wrapped.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    a_tokenizer().save_pretrained(tmp_path / "merged")
    words = ("--prompt", "what is it?", "--max-tokens", "16")

    alone, whole = (infer(*words, folder=tmp_path / name)[:2] for name in ("adapter", "merged"))

    assert alone == whole
    assert alone != infer(*words)[:2]


def test_a_model_without_a_template_says_where_it_goes_and_how_to_do_without(infer, tmp_path):
    a_llama().save_pretrained(tmp_path)
    a_tokenizer(chat_template=None).save_pretrained(tmp_path)

    code, _, err = infer("--prompt", "hi", folder=tmp_path)

    assert code == 78
    assert (
        "has no chat template: put chat_template.jinja into its folder, or continue the text as it is with --raw" in err
    )


def test_a_damaged_model_is_refused_with_its_name(infer, model, tmp_path):
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-100])

    code, out, err = infer("--prompt", "hi", folder=tmp_path)

    assert (code, out) == (78, "")
    assert err.startswith(f"tetrad: --model {tmp_path} does not load: SafetensorError")


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (
            ("--prompt", "a" * 300),
            65,
            "--prompt has 305 tokens; with 1 new ones it needs 306, the model's context is 256",
        ),
        (("--prompt", "hi", "--max-tokens", "999"), 65, "lower --max-tokens"),
        (("--raw", "--file", "rows.jsonl"), 65, "--raw continues a text, and this is a conversation"),
        ((), 78, "there is no prompt: give one with --prompt"),
        (("--prompt", "hi", "--device", "tpu"), 78, "--device tpu is none that torch knows"),
    ],
)
def test_what_cannot_be_asked_says_why(infer, tmp_path, monkeypatch, words, code, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": [{"role": "user", "content": "hi"}]}))

    found, _, err = infer(*words)

    assert found == code
    assert reason in err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--samples", "2"), "--samples 2 would all be equal; give them a --temperature above 0"),
        (("--raw", "--system", "x"), "--system is a message of a chat template"),
        (("--top-p", "0"), "0; it must be above 0 and at most 1"),
        (("--temperature", "-1"), "-1; it must be 0 (greedy) or more"),
        (("--seed", "-1"), "-1; it must be in"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_loads(capsys, words, reason):
    with pytest.raises(SystemExit):
        main(["--model", "nowhere", "--prompt", "x", *words])

    assert reason in capsys.readouterr().err


def test_what_a_template_refuses_is_the_prompt_s_fault(infer, tmp_path):
    a_llama().save_pretrained(tmp_path)
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    a_tokenizer(chat_template=template + "{{ messages[0]['content'] }}").save_pretrained(tmp_path)

    code, _, err = infer("--prompt", "hi", "--system", "be brief", folder=tmp_path)

    assert code == 65
    assert "--prompt: the model's chat template does not take it: " in err
    assert "no system role" in err
