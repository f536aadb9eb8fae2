"""Parts 1 and 2: what is installed, and the data."""

import re
from importlib.metadata import distributions
from typing import Any, Final

from tetrad_trajectories.dataset import Dataset
from tutorial.hub import NUM_PROBLEMS
from tutorial.problems import SYSTEM_PROMPT
from tutorial.verdict import PendingError, Promise
from tutorial.walk import Walk
from tutorial.workshop import ROOT

INSTALL, VERIFY, PREPARE, FORMAT, ACTIVATE, UNSET = 3, 4, 5, 6, 8, 27
TORCH: Final = (2, 9, 1)
"""What Step 1.3 promises at least."""
UNREACHABLE: Final = ("error sending request", "Failed to fetch", "dns error", "Could not connect")
ORIGINAL: Final = ROOT.parent / "shared" / "data" / "gsm8k"
"""The authors' own files, where somebody has put them beside the repository."""


def packages(walk: Walk) -> str:
    """T1."""
    done = walk.result(INSTALL)
    if any(words in done.err for words in UNREACHABLE):
        raise PendingError("no package registry can be reached")
    would = dict(re.findall(r"^ [+~] ([\w.-]+)==(\S+)", done.out + done.err, re.MULTILINE))
    assert done.code == 0, done.err
    assert tuple(int(part) for part in would["torch"].split("+")[0].split(".")) >= TORCH, would["torch"]
    released = {name: would[name] for name in ("sglang", "flashinfer-python", "torch", "transformers")}
    doctor = walk.workshop.run("tetrad doctor")
    assert "torch" in doctor.out, doctor.out
    return f"uv resolves released wheels {released}; tetrad doctor names what is installed"


def module(walk: Walk) -> str:
    """T2."""
    said = walk.result(VERIFY).out
    assert said == "SkyRL installed successfully\n", said
    return "Step 1.4 prints its sentence"


def row_format(walk: Walk) -> str:
    """T3."""
    # A literal of the tutorial, in which {...} is a set of an ellipsis.
    printed: dict[str, Any] = eval(walk.block(FORMAT).text, {"__builtins__": {}})
    with_system, plain = _rows(walk, "gsm8k")[0], _plain_rows(walk)[0]
    record = with_system.record()
    assert printed.keys() <= record.keys(), record
    assert record["env_class"] == printed["env_class"]
    assert set(printed["reward_spec"]) <= set(record["reward_spec"]), record
    assert [message.role for message in with_system.prompt] == [one["role"] for one in printed["prompt"]]
    assert with_system.prompt[0].content == SYSTEM_PROMPT
    assert [message.role for message in plain.prompt] == ["user"]
    return f"columns {', '.join(record)}; a system message, or with --system_prompt '' none, as SkyRL writes"


def _plain_rows(walk: Walk) -> Dataset:
    text = "python examples/gsm8k/gsm8k_dataset.py --output_dir ~/data/plain --system_prompt ''"
    walk.workshop.run(text).succeeded()
    return _rows(walk, "plain")


def _rows(walk: Walk, folder: str) -> Dataset:
    return Dataset.read([walk.workshop.home / "data" / folder / "train.parquet"])


def without_ray(walk: Walk) -> str:
    """T28."""
    for number in (PREPARE, ACTIVATE, UNSET):
        walk.result(number)
    ours = [one for one in distributions() if one.metadata["Name"].startswith("tetrad-")]
    needs = {re.split(r"[^\w.-]", text)[0].lower() for one in ours for text in one.requires or ()}
    assert ours, "no distribution of Tetrad is installed"
    assert "ray" not in needs, needs
    return f"set until Step 4.1, where unsetting it does nothing: none of {len(ours)} distributions needs Ray"


def row_numbers(walk: Walk) -> str:
    """T31."""
    said = walk.result(PREPARE).out
    train, test = NUM_PROBLEMS["train"], NUM_PROBLEMS["test"]
    for name, number in (("train", train), ("validation", test)):
        assert f"{name}.parquet: {number:,} rows" in said, said
    return f"{train:,} and {test:,}, {_original_numbers(walk, train=train, test=test)}"


def _original_numbers(walk: Walk, *, train: int, test: int) -> str:
    if not (ORIGINAL / "train.jsonl").exists():
        return "of a stand-in; the authors' files are not here"
    text = f"python examples/gsm8k/gsm8k_dataset.py --output_dir ~/data/original --source {ORIGINAL}"
    said = walk.workshop.run(text).succeeded().out
    assert f"{train:,} rows" in said, said
    assert f"{test:,} rows" in said, said
    return "of a stand-in and of the authors' own files"


INSTALL_PROMISES: Final = (
    Promise("T1", "uv sync --extra sglang gives PyTorch 2.9.1+", packages, "imported and used"),
    Promise("T2", "import skyrl_train", module),
    Promise("T3", "rows have a system message", row_format),
    Promise("T28", "unset RAY_RUNTIME_ENV_HOOK", without_ray),
    Promise("T31", "~7,500 and ~1,300 problems", row_numbers),
)
