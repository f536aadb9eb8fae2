"""Model folders of the GPU benchmarks.

`random_with_tokenizer`: a shape of Qwen2.5 with random weights, and the tokenizer and chat template of a real model, so
that prompts are rendered and answers decoded as in a run. `endless`: a real model whose end of sequence is a token that
it does not sample, so that samples run to their limit on every side of a comparison.

    python benchmarks/engine_models.py 0.5b TOKENIZER_FOLDER FOLDER    # a process of its own gives the GPU back
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from learner_setting import make_model

TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
CONFIGS: Final = ("config.json", "generation_config.json")
RARE_TOKEN: Final = 4
"""`<reponame>` of SmolLM2: marks source code in its training data and never occurs in an answer."""


def random_with_tokenizer(shape: str, tokenizer: Path, folder: Path) -> Path:
    """Random weights of that shape, and another folder's tokenizer; made where it is missing."""
    done = folder / ".complete"
    if done.exists():
        return folder
    make_model(shape, folder)
    for name in TOKENIZER_FILES:
        (folder / name).unlink(missing_ok=True)
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, folder / name)
    done.touch()
    return folder


def endless(source: Path, folder: Path, *, end_token: int = RARE_TOKEN) -> Path:
    """The same model, its files linked, which ends at `end_token` alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        target = folder / path.name
        target.unlink(missing_ok=True)
        if path.name not in CONFIGS:
            target.symlink_to(path.resolve())
            continue
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        target.write_text(json.dumps(config | {"eos_token_id": end_token}), encoding="utf-8")
    return folder


if __name__ == "__main__":
    random_with_tokenizer(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
