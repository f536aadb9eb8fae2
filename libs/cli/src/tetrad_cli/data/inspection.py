"""`tetrad data inspect`: what the policy reads when a run draws a row, as token ids and as text."""

from pathlib import Path
from typing import Any

from tetrad_cli.data.errors import DataCommandError, MissingPackageError
from tetrad_trajectories.dataset import Dataset
from tetrad_trajectories.row import Row
from tetrad_trajectories.rows_file import CHECKSUM_KEY, read_metadata


def show(file: Path, *, model: str, num_rows: int) -> None:
    """Print the first `num_rows` prompts of `file`, rendered with the chat template of `model`."""
    dataset = Dataset.read([file])
    tokenizer = _tokenizer(model)
    print(f"{file}: {len(dataset):,} rows, sha256 {dataset.hash} ({checksum_verdict(file, dataset)})")
    for index in range(min(num_rows, len(dataset))):
        print("\n".join(describe(dataset[index], index, tokenizer)))


def describe(row: Row, index: int, tokenizer: Any) -> list[str]:
    """Return the lines about one row; `tokenizer` is a Hugging Face tokenizer with a chat template."""
    token_ids = tokenizer.apply_chat_template(
        [{"role": message.role, "content": message.content} for message in row.prompt],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    return [
        "",
        f"row {index}: env_class {row.env_class}, ground_truth {row.ground_truth!r}, {len(token_ids)} tokens",
        f"  ids  {' '.join(map(str, token_ids))}",
        f"  text {tokenizer.decode(token_ids, skip_special_tokens=False)!r}",
    ]


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
