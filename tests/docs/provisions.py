"""What a block may need before it runs, by the name that its comment `needs:` has."""

import shutil
from collections.abc import Callable, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from docs.pages import ROOT
from docs.session import Session

TUTORIAL_FILE: Final = ROOT / "tests" / "unit" / "config" / "data" / "my_training_config.yaml"
REWARD: Final = """def fn(response: str, ground_truth: str | None, **extras: object) -> float:
    return float(response.strip() == ground_truth)
"""
ROWS: Final = '{"response": "so he has 12 left", "ground_truth": "12"}\n'


def demo(session: Session) -> None:
    """A demo run that has ended, in outputs/demo, with the checkpoint of its second step."""
    session.shell("tetrad train +experiment=demo", where="needs: demo")


def endless(session: Session) -> None:
    """A demo run in the background, that goes on."""
    session.shell("tetrad up --no-monitoring", where="needs: endless")


def run_file(session: Session) -> None:
    """The tutorial's run file in the folder, and what its commands name."""
    shutil.copy(TUTORIAL_FILE, session.folder)


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


def _writes(name: str, text: str) -> Callable[[Session], None]:
    def write(session: Session) -> None:
        (session.folder / name).write_text(text, encoding="utf-8")

    return write


PROVISIONS: Final[Mapping[str, Callable[[Session], None]]] = {
    "demo": demo,
    "endless": endless,
    "my_training_config.yaml": run_file,
    "verl.parquet": verl_rows,
    "my.py": _writes("my.py", REWARD),
    "stricter.py": _writes("stricter.py", REWARD),
    "rows.jsonl": _writes("rows.jsonl", ROWS),
}


def provide(session: Session, names: str) -> None:
    """Provide what a comment names, separated by commas."""
    for name in names.split(", "):
        PROVISIONS[name](session)
