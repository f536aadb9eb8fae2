"""`python examples/gsm8k/gsm8k_dataset.py --output_dir DIR` is `tetrad data gsm8k --output-dir DIR`.

Rows have the tutorial's system message; `--system_prompt ''` leaves it out, as SkyRL's script does.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tetrad_cli.data import command

OUTPUT_DIR: Final = Path.home() / "data" / "gsm8k"
# The tutorial uses its trained model under this message.
SYSTEM_PROMPT: Final = "You are a helpful math tutor. Solve problems step by step."


def main(argv: Sequence[str]) -> int:
    """Write train.parquet and validation.parquet; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Others are those of `tetrad data gsm8k`.")
    parser.add_argument("--output_dir", "--output-dir", default=OUTPUT_DIR, help=f"default: {OUTPUT_DIR}")
    parser.add_argument("--system_prompt", "--system-prompt", default=SYSTEM_PROMPT, help=f"default: {SYSTEM_PROMPT}")
    arguments, others = parser.parse_known_args(argv)
    system = ("--system-prompt", arguments.system_prompt) if arguments.system_prompt else ()
    return command(["gsm8k", "--output-dir", str(arguments.output_dir), *system, *others])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
