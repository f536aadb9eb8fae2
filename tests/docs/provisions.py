"""What a block may need before it runs, by the name that its comment `needs:` has."""

import shutil
from collections.abc import Callable, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from docs.pages import ROOT
from docs.session import Session

TUTORIAL_FILE: Final = ROOT / "tests" / "unit" / "config" / "data" / "my_training_config.yaml"
DEMO_ROWS: Final = ROOT / "libs" / "config" / "src" / "tetrad_config" / "assets" / "demo" / "validation.jsonl"
REWARD: Final = """def fn(response: str, ground_truth: str | None, **extras: object) -> float:
    return float(response.strip() == ground_truth)
"""
ROWS: Final = '{"response": "so he has 12 left", "ground_truth": "12"}\n'


def demo(session: Session) -> None:
    """A demo run that has ended, in outputs/demo, with the checkpoint of its second step, which was evaluated."""
    session.shell("tetrad train +experiment=demo trainer.eval_interval=2", where="needs: demo")


def endless(session: Session) -> None:
    """A demo run in the background, that goes on."""
    session.shell("tetrad up --no-monitoring", where="needs: endless")


def run_file(session: Session) -> None:
    """The tutorial's run file in the folder, and what its commands name."""
    shutil.copy(TUTORIAL_FILE, session.folder)


def my_run(session: Session) -> None:
    """A run file of the reader's, which trains what the demo does."""
    session.shell(
        "tetrad train --show-config +experiment=demo trainer.run_name=my_run > my_run.yaml", where="my_run.yaml"
    )


def keys(session: Session) -> None:
    """A folder of keys that the shell knows."""
    session.shell("export TETRAD_KEYS=~/tetrad-keys\ntetrad keys init", where="needs: keys")


def hard_rows(session: Session) -> None:
    """A few of the demo's prompts."""
    lines = DEMO_ROWS.read_text(encoding="utf-8").splitlines(keepends=True)
    (session.folder / "hard.jsonl").write_text("".join(lines[:8]), encoding="utf-8")


def verl_rows(session: Session) -> None:
    """A data file with the columns of verl's."""
    row = {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "user", "content": "1 + 1?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "extra_info": {"index": 0},
    }
    pq.write_table(pa.Table.from_pylist([row]), session.folder / "verl.parquet")


def hub(session: Session) -> None:
    """A Hub in a folder, with a stand-in for GSM8K: as many rows, in its form."""
    from tutorial.hub import make_dataset

    make_dataset(session.folder / "hub")
    session.shell(f"export HF_HOME={session.folder}/hub", where="needs: hub")


def tokenizer(session: Session) -> None:
    """A folder with a tokenizer and a chat template, where the reader has a model."""
    from tutorial.small_model import save_small_tokenizer

    save_small_tokenizer(session.folder / "models" / "smollm2")


def _writes(name: str, text: str) -> Callable[[Session], None]:
    def write(session: Session) -> None:
        (session.folder / name).write_text(text, encoding="utf-8")

    return write


PROVISIONS: Final[Mapping[str, Callable[[Session], None]]] = {
    "demo": demo,
    "endless": endless,
    "my_training_config.yaml": run_file,
    "my_run.yaml": my_run,
    "keys": keys,
    "hard.jsonl": hard_rows,
    "verl.parquet": verl_rows,
    "hub": hub,
    "models/smollm2": tokenizer,
    "my.py": _writes("my.py", REWARD),
    "stricter.py": _writes("stricter.py", REWARD),
    "rows.jsonl": _writes("rows.jsonl", ROWS),
}


def provide(session: Session, names: str) -> None:
    """Provide what a comment names, separated by commas."""
    for name in names.split(", "):
        PROVISIONS[name](session)
