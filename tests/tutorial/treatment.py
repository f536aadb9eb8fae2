"""What is done with each block of the tutorial. A literal table: a block that is not in it fails a test."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How a block is executed."""

    SHELL = "bash, as printed"
    TRAIN = "bash, with words for this machine after its command"
    LINES = "bash, line by line: some of them need a GPU"
    SYNC = "resolved by uv against the registry, and not downloaded"
    SERVER = "started, asked, stopped"
    PYTHON = "python"
    SHAPE = "compared with a row of the data set"
    RUN_FILE = "saved under the name on its first line, and used by what follows"
    OVERLAY = "saved as a run file on top of that of Part 3, and run"
    WORDS = "put behind the command of Part 4"
    OUTPUT = "looked up in what the commands printed"
    ERROR = "must not occur"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Treatment:
    """One line of the table."""

    begins: str
    """First line of the block, so that the table cannot slip."""
    kind: Kind
    note: str = ""
    """Why it is not run, or what is read otherwise than printed."""


_FETCHES: Final = "fetches a program from the network and runs it; uv of this environment is used instead"

TREATMENTS: Final[Mapping[int, Treatment]] = {
    1: Treatment("curl -LsSf https://astral.sh/uv/install.sh | sh", Kind.NOT_RUN, _FETCHES),
    2: Treatment("git clone https://github.com/NovaSky-AI/SkyRL", Kind.SHELL, "git takes this repository for the URL"),
    3: Treatment("uv sync --extra sglang", Kind.SYNC, "its .venv is this environment"),
    4: Treatment("python -c \"import sglang; print(f'SGLang version: {sglang.__version__}')\"", Kind.LINES),
    5: Treatment("python examples/gsm8k/gsm8k_dataset.py --output_dir ~/data/gsm8k", Kind.SHELL, "the Hub is local"),
    6: Treatment("{", Kind.SHAPE),
    7: Treatment("# my_training_config.yaml", Kind.RUN_FILE),
    8: Treatment("# Activate environment", Kind.SHELL),
    9: Treatment("python -m skyrl_train.entrypoints.main_base \\", Kind.TRAIN),
    10: Treatment("python -m skyrl_train.entrypoints.main_base \\", Kind.TRAIN),
    11: Treatment("Step 1: train/policy_loss=0.0234, train/kl_loss=0.0012, ...", Kind.OUTPUT),
    12: Treatment("tensorboard --logdir outputs/", Kind.SERVER),
    13: Treatment("┌─────────────────────────────────────────────────────────────────┐", Kind.OUTPUT),
    14: Treatment("ls ~/ckpts/", Kind.SHELL),
    15: Treatment(
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        Kind.PYTHON,
        "transformers does not open ~, its template call returns a mapping, and greedy is do_sample=False",
    ),
    16: Treatment("python -m skyrl_train.entrypoints.main_base \\", Kind.TRAIN),
    17: Treatment("trainer:", Kind.OVERLAY),
    18: Treatment("trainer:", Kind.OVERLAY),
    19: Treatment("trainer:", Kind.OVERLAY),
    20: Treatment("trainer:", Kind.OVERLAY),
    21: Treatment("trainer:", Kind.OVERLAY),
    22: Treatment("trainer:", Kind.OVERLAY, "run by the block after it"),
    23: Treatment('export WANDB_API_KEY="your-key"', Kind.TRAIN, "... is the run file of 7.5; W&B is offline"),
    24: Treatment("AssertionError: FlashAttention v3 Backend requires SM>=80", Kind.ERROR),
    25: Treatment("+generator.engine_init_kwargs.attention_backend=flashinfer", Kind.WORDS),
    26: Treatment("error: Failed to generate package metadata for `sglang @ editable+...`", Kind.ERROR),
    27: Treatment("unset RAY_RUNTIME_ENV_HOOK", Kind.SHELL),
    28: Treatment("generator:", Kind.OVERLAY),
    29: Treatment("generator:", Kind.OVERLAY),
}
