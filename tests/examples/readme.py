"""The commands that the README of an example names."""

import re
import shlex
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
# Those with a run file or code of Tetrad's; others have tests and a language of their own.
OURS = sorted(
    folder.name for folder in EXAMPLES.iterdir() if folder.name.startswith("custom-") or (folder / "run.yaml").is_file()
)
MINIATURE = "+experiment=cpu-tiny"


def commands_of(name: str) -> list[list[str]]:
    """Every command of the page, as words."""
    page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def training_commands(name: str, *, is_miniature: bool) -> list[list[str]]:
    """What follows `tetrad train`, for GPUs or for a CPU."""
    trained = [words[2:] for words in commands_of(name) if words[:2] == ["tetrad", "train"]]
    return [words for words in trained if (MINIATURE in words) == is_miniature]


def folder_of(name: str, root: Path) -> Path:
    """Where the commands are given, in a copy of the repository's root."""
    entered = [words[1] for words in commands_of(name) if words[0] == "cd"]
    return root / entered[0] if entered else root
