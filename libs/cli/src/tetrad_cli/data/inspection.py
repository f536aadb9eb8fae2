"""`tetrad data inspect`: what the policy reads when a run draws a row, and which rows a run would drop."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tetrad_cli.data.errors import DataCommandError, MissingPackageError
from tetrad_cli.data.lengths import MAX_NAMED, drawn, histogram, summary
from tetrad_trajectories.dataset import Dataset
from tetrad_trajectories.row import Row
from tetrad_trajectories.rows_file import CHECKSUM_KEY, read_metadata


def show(file: Path, *, model: str, num_rows: int, max_prompt_length: int) -> None:
    """Print the first `num_rows` prompts of `file`, rendered with the chat template of `model`, then all lengths."""
    dataset = Dataset.read([file])
    tokenizer = _tokenizer(model)
    print(f"{file}: {len(dataset):,} rows, sha256 {dataset.hash} ({checksum_verdict(file, dataset)})")
    for index in range(min(num_rows, len(dataset))):
        print("\n".join(describe(dataset[index], index, tokenizer)))
    print()
    print("\n".join(about_lengths(dataset, tokenizer, limit=max_prompt_length)))


def describe(row: Row, index: int, tokenizer: Any) -> list[str]:
    """Return the lines about one row; `tokenizer` is a Hugging Face tokenizer with a chat template."""
    head = f"row {index}: env_class {row.env_class}, ground_truth {row.ground_truth!r}"
    try:
        token_ids = rendered(row, tokenizer)
    except RefusedPromptError as error:
        return ["", f"{head}, {error}"]
    return [
        "",
        f"{head}, {len(token_ids)} tokens",
        f"  ids  {' '.join(map(str, token_ids))}",
        f"  text {tokenizer.decode(token_ids, skip_special_tokens=False)!r}",
    ]


class RefusedPromptError(ValueError):
    """The chat template takes no such messages."""


def rendered(row: Row, tokenizer: Any) -> Sequence[int]:
    """Return the ids of a prompt, up to where the assistant begins; raises RefusedPromptError."""
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        ids: Sequence[int] = tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in row.prompt],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
    except TemplateSyntaxError as error:
        raise DataCommandError(f"the chat template has an error in line {error.lineno}: {error.message}") from error
    except TemplateError as error:
        raise RefusedPromptError(f"refused by the chat template: {error}") from error
    return ids


def about_lengths(rows: Dataset, tokenizer: Any, *, limit: int) -> Iterator[str]:
    """Yield how long all prompts are, as a histogram, and which would be dropped, and why."""
    lengths: dict[int, int] = {}
    refused: dict[int, str] = {}
    for index, row in enumerate(rows):
        try:
            lengths[index] = len(rendered(row, tokenizer))
        except RefusedPromptError as error:
            refused[index] = str(error)
    if lengths:
        yield summary(list(lengths.values()), limit=limit)
        yield from drawn(histogram(list(lengths.values())), limit=limit)
        long = {index: f"{length} tokens" for index, length in lengths.items() if length > limit}
        yield from _named("longer", long)
    yield from _named("refused", refused)


def _named(what: str, rows: Mapping[int, str]) -> Iterator[str]:
    if rows:
        shown = [f"row {index} ({why})" for index, why in list(rows.items())[:MAX_NAMED]]
        more = f" and {len(rows) - MAX_NAMED:,} more" if len(rows) > MAX_NAMED else ""
        yield f"{what}: {', '.join(shown)}{more}"


def checksum_verdict(file: Path, dataset: Dataset) -> str:
    """Compare the rows with the checksum that their writer left in the file."""
    recorded = read_metadata(file).get(CHECKSUM_KEY)
    if recorded is None:
        return "no checksum in the file"
    return "as recorded in the file" if recorded == dataset.hash else f"CHANGED: the file records {recorded}"


def _tokenizer(model: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingPackageError(package="transformers", extra="models") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise DataCommandError(f"--model {model}: no tokenizer there: {error}") from error
    if not tokenizer.chat_template:
        raise DataCommandError(f"--model {model}: its tokenizer has no chat template")
    return tokenizer
