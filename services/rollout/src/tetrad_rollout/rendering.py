"""Chat messages to token ids and sampled ids to text. Token in, token out: what was sampled is never tokenised again.

Owns the tokenizer and its chat template. Templates only append: a later turn is rendered as what the template
writes *after* the assistant's words. Must not know engines, environments or torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Message = Mapping[str, Any]
"""`role`, `content` and what else the template reads."""
Ids = npt.NDArray[np.int32]

# Stands for an assistant's turn while the template is asked what it writes after one. Letters only, so that no
# template or tokenizer splits, strips or escapes it.
_ASSISTANT: Final = "TetradAssistantTurn"
ANY_PROMPT: Final = ({"role": "user", "content": "?"},)


class RenderingError(ValueError):
    """The messages cannot be rendered with this tokenizer."""


class PromptTooLongError(RenderingError):
    """The rendered prompt is longer than the run allows."""

    def __init__(self, *, num_tokens: int, limit: int) -> None:
        super().__init__(
            f"the prompt has {num_tokens} tokens; trainer.max_prompt_length is {limit}: raise it or drop the prompt"
        )
        self.num_tokens, self.limit = num_tokens, limit


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that is used."""

    chat_template: Any
    all_special_ids: Sequence[int]

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...  # noqa: D102
    def encode(self, text: Any, **kwargs: Any) -> Any: ...  # noqa: D102
    def decode(self, token_ids: Any, **kwargs: Any) -> Any: ...  # noqa: D102


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer of a local model folder."""
    from transformers import AutoTokenizer

    if not Path(path).is_dir():
        raise RenderingError(f"{path} is no folder; trainer.policy.model.path must name a local Hugging Face folder")
    try:
        # transformers' own types do not say that what it returns has a template and takes text.
        tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise RenderingError(f"{path} has no tokenizer that loads; put tokenizer.json into it ({error})") from error
    loaded: Tokenizer = tokenizer
    return loaded


class Renderer:
    """Renders turns with a tokenizer's chat template."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_prompt_length: int,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        template = chat_template or tokenizer.chat_template
        if not template:
            raise RenderingError(
                "the tokenizer has no chat template: copy chat_template.jinja from the instruct model of the same "
                "family into the model folder"
            )
        self._tokenizer = tokenizer
        self._max_prompt_length = max_prompt_length
        self._kwargs = {**(template_kwargs or {}), "chat_template": template}
        self.n_retokenised = 0
        """Sampled turns replaced by text so far; anything but 0 deserves a look."""
        self._special_ids = frozenset(tokenizer.all_special_ids)
        self._refuse_what_cannot_be_read()

    def prompt(self, messages: Sequence[Message]) -> Ids:
        """The first turn, int32[T], up to where the assistant begins to speak.

        Raises:
            PromptTooLongError: with both lengths.
        """
        ids = self._encode(self._text(messages))
        if ids.size > self._max_prompt_length:
            raise PromptTooLongError(num_tokens=ids.size, limit=self._max_prompt_length)
        return ids

    def observation(self, messages: Sequence[Message], *, after: Sequence[int] | Ids) -> Ids:
        """What follows the sampled ids `after` when the environment answers with `messages`, int32[T].

        It begins with the template's own end of the assistant's turn, unless that is what was sampled last.
        """
        spoken = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ASSISTANT}]
        _, found, rest = self._text([*spoken, *messages]).rpartition(_ASSISTANT)
        if not found:
            raise RenderingError(
                "the chat template does not show earlier assistant turns, so that no turn can follow one; "
                "use a template that does, or environments of a single turn"
            )
        ids = self._encode(rest)
        repeats_end = bool(len(after) and ids.size and ids[0] == after[-1] and int(ids[0]) in self._special_ids)
        return ids[1:] if repeats_end else ids

    def text(self, ids: Sequence[int] | Ids, *, stop_strings: Sequence[str] = ()) -> str:
        """Sampled ids as text without special tokens, cut before the first stop string."""
        text = str(self._tokenizer.decode([int(token) for token in ids], skip_special_tokens=True))
        ends = [place for stop in stop_strings if (place := text.find(stop)) >= 0]
        return text[: min(ends)] if ends else text

    def retokenise(self, text: str) -> Ids:
        """Ids of words that an environment puts in the place of a sampled turn, int32[T]; counted.

        Nobody sampled these tokens: they have no log-probs and must not be trained on (loss mask 0).
        """
        self.n_retokenised += 1
        return self._encode(text)

    def _refuse_what_cannot_be_read(self) -> None:
        """Raise RenderingError for a broken template now, and not at the first prompt; what it refuses is no matter."""
        from jinja2 import TemplateSyntaxError

        try:
            self._text(ANY_PROMPT)
        except RenderingError as error:
            if isinstance(error.__cause__, TemplateSyntaxError):
                raise

    def _text(self, messages: Sequence[Message]) -> str:
        from jinja2 import TemplateError, TemplateSyntaxError

        try:
            rendered = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=True, **self._kwargs
            )
        except TemplateSyntaxError as error:
            raise RenderingError(
                f"the chat template has an error in line {error.lineno}: {error.message}; mend it in the model folder"
            ) from error
        except TemplateError as error:
            # What a template says of messages that it takes none of, such as a system prompt.
            roles = ", ".join(str(message.get("role")) for message in messages)
            raise RenderingError(
                f"the chat template refuses messages by {roles}: {error}; change the prompts, or the template"
            ) from error
        return str(rendered)

    def _encode(self, text: str) -> Ids:
        # The template writes its own special tokens; the tokenizer must not add a second <bos>.
        return np.array(self._tokenizer.encode(text, add_special_tokens=False), np.int32)
