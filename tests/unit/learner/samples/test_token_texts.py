from unit.learner.samples.samples_builders import a_byte_level_tokenizer, a_tokenizer_of_pieces

from tetrad_learner.samples.token_texts import TokenTexts, load_texts


def test_pieces_are_the_text_again() -> None:
    tokenizer = a_byte_level_tokenizer()
    ids = tokenizer.encode("2 + 2\n= four").ids

    pieces = TokenTexts(tokenizer).pieces(ids)

    assert len(pieces) == len(ids)
    assert "".join(pieces) == "2 + 2\n= four"


def test_of_tokens_that_make_one_character_the_first_has_it() -> None:
    tokenizer = a_byte_level_tokenizer()
    ids = tokenizer.encode("é€🙂.").ids

    pieces = TokenTexts(tokenizer).pieces(ids)

    assert pieces == ["é", "", "€", "", "", "🙂", "", "", "", "."]


def test_bytes_that_are_no_character_are_shown_as_such() -> None:
    tokenizer = a_byte_level_tokenizer()
    broken = tokenizer.encode("é").ids[0]

    pieces = TokenTexts(tokenizer).pieces([broken, *tokenizer.encode("ab").ids])

    assert pieces == ["\N{REPLACEMENT CHARACTER}", "a", "b"]


def test_the_space_before_a_word_is_kept_wherever_the_word_stands() -> None:
    tokenizer = a_tokenizer_of_pieces("<unk>", "▁two", "▁plus", "!")

    assert TokenTexts(tokenizer).pieces([1, 2, 3]) == [" two", " plus", "!"]


def test_without_a_tokenizer_ids_stand_for_texts_and_it_says_so(tmp_path) -> None:
    for model in (str(tmp_path), str(tmp_path / "gone"), "nobody/has-this-model"):
        texts = load_texts(model)

        assert texts.pieces([5, 70]) == ["⟨5⟩", "⟨70⟩"]
        assert texts.notice == f"token ids stand for texts: there is no tokenizer.json of {model}"
