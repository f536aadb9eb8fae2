"""Messages to ids and back; what was sampled is never tokenised again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from unit.rollout.engine_builders import END_ID, SYMBOLS, a_tokenizer

from tetrad_rollout.rendering import PromptTooLongError, Renderer, RenderingError, load_tokenizer

SILENT_TEMPLATE = "{{ messages[0]['content'] }}"


def a_renderer(*, max_prompt_length: int = 100, **kwargs: object) -> Renderer:
    return Renderer(a_tokenizer(), max_prompt_length=max_prompt_length, **kwargs)  # type: ignore[arg-type]


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def text_of(ids: np.ndarray) -> str:
    return "".join(SYMBOLS[i] for i in ids)


def test_a_prompt_is_the_template_up_to_the_assistants_turn() -> None:
    ids = a_renderer().prompt([user("hi")])

    assert ids.dtype == np.int32
    assert text_of(ids) == "<bos><|user|>hi<|end|>\n<|assistant|>"


def test_a_prompt_beyond_the_limit_is_refused_with_both_numbers() -> None:
    with pytest.raises(PromptTooLongError, match=r"has 7 tokens; trainer.max_prompt_length is 6") as caught:
        a_renderer(max_prompt_length=6).prompt([user("hi")])

    assert (caught.value.num_tokens, caught.value.limit) == (7, 6)


def test_an_observation_continues_what_was_sampled_as_the_template_would() -> None:
    renderer = a_renderer()
    conversation = [user("hi"), {"role": "assistant", "content": "yes"}, user("go on")]
    sampled = [SYMBOLS.index(symbol) for symbol in ("y", "e", "s", "<|end|>")]

    ids = np.concatenate([renderer.prompt([user("hi")]), sampled, renderer.observation([user("go on")], after=sampled)])

    assert ids.tolist() == renderer.prompt(conversation).tolist()


def test_the_end_of_turn_is_added_where_the_sample_lacks_it() -> None:
    renderer = a_renderer()

    ids = renderer.observation([{"role": "tool", "content": "b"}], after=[SYMBOLS.index("y")])

    assert text_of(ids) == "<|end|>\n<|tool|>b<|end|>\n<|assistant|>"


def test_only_a_special_token_counts_as_the_end_of_turn() -> None:
    template = "{% for m in messages %}{{ m['content'] }}!{% endfor %}"
    renderer = a_renderer(chat_template=template)

    assert text_of(renderer.observation([user("a")], after=[SYMBOLS.index("!")])) == "!a!"


def test_a_template_that_hides_earlier_turns_cannot_continue() -> None:
    with pytest.raises(RenderingError, match="single turn"):
        a_renderer(chat_template=SILENT_TEMPLATE).observation([user("a")], after=[1])


def test_text_has_no_special_tokens_and_ends_before_the_first_stop_string() -> None:
    ids = [SYMBOLS.index(symbol) for symbol in ("a", "b", "!", "c", "<|end|>")]
    renderer = a_renderer()

    assert renderer.text(ids) == "ab!c"
    assert renderer.text(ids, stop_strings=("c", "b!")) == "a"


def test_replacing_sampled_words_is_counted() -> None:
    renderer = a_renderer()

    assert renderer.n_retokenised == 0
    assert renderer.retokenise("ab").tolist() == [SYMBOLS.index("a"), SYMBOLS.index("b")]
    assert renderer.n_retokenised == 1


def test_a_tokenizer_without_chat_template_is_refused_with_the_way_out() -> None:
    with pytest.raises(RenderingError, match=r"chat_template.jinja"):
        Renderer(a_tokenizer(chat_template=None), max_prompt_length=10)


def test_a_tokenizer_is_loaded_from_a_local_folder(tmp_path: Path) -> None:
    a_tokenizer().save_pretrained(tmp_path)

    renderer = Renderer(load_tokenizer(tmp_path), max_prompt_length=100)

    assert renderer.prompt([user("hi")]).tolist() == a_renderer().prompt([user("hi")]).tolist()
    assert renderer.text([SYMBOLS.index("a"), END_ID]) == "a"


def test_a_folder_without_tokenizer_or_no_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RenderingError, match="no tokenizer that loads"):
        load_tokenizer(tmp_path)
    with pytest.raises(RenderingError, match="no folder"):
        load_tokenizer(tmp_path / "absent")


def test_a_broken_template_is_refused_at_the_start_with_its_line() -> None:
    with pytest.raises(RenderingError, match=r"error in line 2: .*; mend it in the model folder"):
        a_renderer(chat_template="{% for m in messages %}\n{% endfro %}")


def test_a_prompt_that_the_template_refuses_is_an_error_with_its_words() -> None:
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system prompt') }}{% endif %}x"
    renderer = a_renderer(chat_template=template)

    assert renderer.prompt([user("hi")]).size == 1
    with pytest.raises(RenderingError, match="refuses messages by system, user: no system prompt"):
        renderer.prompt([{"role": "system", "content": "s"}, user("hi")])


def test_a_template_that_wants_more_than_one_message_is_not_refused_before_it_gets_them() -> None:
    template = "{% if messages | length < 2 %}{{ raise_exception('no system prompt') }}{% endif %}x"

    assert a_renderer(chat_template=template).prompt([user("s"), user("hi")]).size == 1


def test_a_tokenizer_without_a_pad_token_renders_as_any_other() -> None:
    tokenizer = a_tokenizer()
    tokenizer.pad_token = None

    assert text_of(Renderer(tokenizer, max_prompt_length=100).prompt([user("hi")])).startswith("<bos><|user|>hi")
