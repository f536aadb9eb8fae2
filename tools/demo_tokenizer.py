"""The demo's tokenizer: one symbol per character, 16 in all.

Owns the order of the symbols, which the warm start has learnt. `<bos>` comes from the chat template alone.
"""

from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHARACTERS: Final = "0123456789+="
PAD, EOS, BOS, UNKNOWN = "<pad>", "<eos>", "<bos>", "<unk>"
# `<unk>` fills the sixteenth place. It is no special token: an answer that contains it must show it when decoded.
SYMBOLS: Final = (*CHARACTERS, PAD, EOS, BOS, UNKNOWN)
MAX_LENGTH: Final = 64

# Only appends, so that a longer conversation begins with the tokens of a shorter one.
CHAT_TEMPLATE: Final = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)


def symbol_id(symbol: str) -> int:
    """Return the token id of a symbol.

    >>> symbol_id("7"), symbol_id("="), symbol_id(EOS)
    (7, 11, 13)
    """
    return SYMBOLS.index(symbol)


def save_tokenizer(folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers types none of it
        tokenizer_object=_characters(),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
        # The engine continues on the right of the prompt.
        padding_side="left",
    )
    tokenizer.save_pretrained(folder)


def _characters() -> Tokenizer:
    vocabulary = {symbol: index for index, symbol in enumerate(SYMBOLS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(symbol, special=True) for symbol in (PAD, EOS, BOS)])
    return tokenizer
