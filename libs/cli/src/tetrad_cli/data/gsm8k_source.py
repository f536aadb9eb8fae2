"""Where the problems of GSM8K come from: a folder with the authors' JSON lines, or the Hugging Face Hub."""

from pathlib import Path
from typing import Final

from tetrad_cli.data.errors import DataCommandError, MissingPackageError
from tetrad_trajectories.sources import Source, open_source

REPOSITORY: Final = "openai/gsm8k"


def from_folder(folder: Path, split: str) -> Source:
    """Open `train.jsonl` or `test.jsonl` in `folder`."""
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        raise DataCommandError(f"{path} does not exist; --source needs a folder with train.jsonl and test.jsonl")
    return open_source(path)


def from_hub(split: str) -> Source:
    """Download a split into the Hub's cache and open it."""
    try:
        import huggingface_hub
    except ImportError:
        raise MissingPackageError(package="huggingface-hub", extra="hub") from None
    try:
        path = huggingface_hub.hf_hub_download(REPOSITORY, f"main/{split}-00000-of-00001.parquet", repo_type="dataset")
    except Exception as error:  # foreign: each release raises other types for one fact, "not reachable"
        raise DataCommandError(
            f"{REPOSITORY} cannot be fetched from the Hub ({type(error).__name__}: {_first_line(error)}); "
            "where there is no network, give --source DIR with train.jsonl and test.jsonl "
            "(https://github.com/openai/grade-school-math, grade_school_math/data)"
        ) from error
    return open_source(Path(path))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
