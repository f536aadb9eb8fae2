"""`tetrad infer`: the command line around a speaker. Parses first, imports late."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tetrad_rollout.infer.printing import Totals
    from tetrad_rollout.infer.questions import Question
    from tetrad_rollout.infer.speaker import Wishes

MAX_SEED: Final = 2**63
DESCRIPTION: Final = """Answers prompts with a checkpoint …/global_step_N of a run, any Hugging Face folder, adapters on
their own (…/global_step_N/adapter), or a model of the Hub. No run is needed, and nothing is written.

Prompts come from --prompt, from --file, or line by line from standard input. They go through the model's chat template
as in training. Answers are greedy unless --temperature is given; a seed gives the same answers again.

Answers go to standard output while they are made, what else there is to say to standard error."""
EPILOG: Final = """examples:
  tetrad infer --model ~/ckpts/global_step_50 --prompt "Tom has 7 marbles. He gives 3 away. How many are left?"
  tetrad infer --model outputs/demo/checkpoints/latest --prompt 13+54= --prompt 20+30=
  tetrad infer --model DIR --file validation.parquet --limit 20 --json | tetrad grade --env gsm8k

exit codes: 0 answered; 65 a prompt that cannot be asked; 71 the model failed; 72 not enough memory; 78 no such model,
or options that cannot be."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = _parser()
    arguments = parser.parse_args(list(argv))
    if arguments.samples > 1 and arguments.temperature == 0:
        parser.error(f"--samples {arguments.samples} would all be equal; give them a --temperature above 0")
    if arguments.raw and arguments.system is not None:
        parser.error("--system is a message of a chat template, and --raw uses none; leave one of them out")
    from tetrad_runtime.exits import Fault

    try:
        return _infer(arguments)
    except Fault as fault:
        print(f"tetrad: {fault}", file=sys.stderr)
        return int(fault.exit_code)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tetrad infer",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="folder of a model, or its name on the Hub")
    asked = parser.add_argument_group("what is asked")
    asked.add_argument(
        "--prompt", action="append", default=[], metavar="TEXT", help="may be repeated; - is all of stdin"
    )
    asked.add_argument(
        "--file", action="append", default=[], type=Path, help=".jsonl, .json, .parquet, or text with a prompt a line"
    )
    asked.add_argument("--limit", type=_positive, metavar="N", help="the first N prompts only")
    asked.add_argument("--system", metavar="TEXT", help="system message of prompts that have none")
    asked.add_argument("--raw", action="store_true", help="continue the text as it is, without the chat template")
    how = parser.add_argument_group("how it answers")
    how.add_argument(
        "--max-tokens", type=_positive, metavar="N", help="of an answer; default: 512, or what the context leaves"
    )
    how.add_argument("--temperature", type=_temperature, default=0.0, metavar="T", help="default: 0, greedy")
    how.add_argument("--top-p", type=_share, default=1.0, metavar="P", help="default: 1, off")
    how.add_argument("--top-k", type=_positive, metavar="K", help="default: off")
    how.add_argument("--samples", type=_positive, default=1, metavar="N", help="answers to each prompt; default: 1")
    how.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the first sample; default: 0")
    how.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end an answer before this; may be repeated"
    )
    where = parser.add_argument_group("where, and in which form")
    where.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 …; default: a GPU if there is one")
    where.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16", "float16"],
        help="default: float32 on a CPU, else bfloat16",
    )
    where.add_argument(
        "--max-num-seqs", type=_positive, default=32, metavar="N", help="answers made side by side; default: 32"
    )
    where.add_argument("--json", action="store_true", help="a line of JSON for each answer, which `tetrad grade` reads")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; at least 1 is needed")
    return number


def _temperature(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}; it must be 0 (greedy) or more")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text}; it must be above 0 and at most 1 (off)")
    return value


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < MAX_SEED:
        raise argparse.ArgumentTypeError(f"{number}; it must be in [0, 2⁶³)")
    return number


def _infer(arguments: argparse.Namespace) -> int:
    # A wrong name is answered before torch is loaded.
    from tetrad_rollout.infer.model_choice import find_model
    from tetrad_rollout.infer.questions import questions_of

    found = find_model(arguments.model)
    questions = questions_of(arguments.prompt, arguments.file, stdin=sys.stdin, limit=arguments.limit)
    is_talk = not arguments.prompt and not arguments.file and sys.stdin.isatty()
    first = None if is_talk else next(questions, None)
    if not is_talk and first is None:
        from tetrad_runtime.exits import ConfigFault

        raise ConfigFault("there is no prompt: give one with --prompt, a --file, or lines on standard input")
    from tetrad_rollout.infer.loading import load
    from tetrad_rollout.infer.printing import Printer
    from tetrad_rollout.infer.speaker import Speaker
    from tetrad_telemetry.logs import LogLevel, configure

    configure(service="infer", level=LogLevel.ERROR)
    loaded = load(found, device=arguments.device, dtype=arguments.dtype)
    wishes = _wishes(arguments)
    speaker = Speaker(loaded, wishes, max_num_seqs=arguments.max_num_seqs)
    # Read to know how many there are.
    read = [] if first is None else [first, *islice(questions, 1)]
    printer = Printer(
        out=sys.stdout,
        decode=speaker.text,
        num_samples=wishes.num_samples,
        stop_strings=wishes.stop_strings,
        is_json=arguments.json,
        has_headlines=(len(read) > 1 or wishes.num_samples > 1) and not is_talk,
    )
    started = time.perf_counter()
    asked = _typed(questions) if is_talk else chain(read, questions)
    for growth in speaker.answers(asked, is_one_by_one=is_talk):
        printer.take(growth)
    print(_summary(printer.totals, time.perf_counter() - started, device=loaded.place.device), file=sys.stderr)
    return 0


def _typed(questions: Iterator["Question"]) -> Iterator["Question"]:
    """Ask at a terminal, until its end (Ctrl-D)."""
    while True:
        print("> ", end="", file=sys.stderr, flush=True)
        question = next(questions, None)
        if question is None:
            print(file=sys.stderr)
            return
        yield question


def _wishes(arguments: argparse.Namespace) -> "Wishes":
    from tetrad_rollout.engine.protocol import TOP_K_OFF
    from tetrad_rollout.infer.speaker import Wishes

    return Wishes(
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        top_k=arguments.top_k or TOP_K_OFF,
        stop_strings=tuple(arguments.stop),
        num_samples=arguments.samples,
        seed=arguments.seed,
        system=arguments.system,
        is_raw=arguments.raw,
    )


def _summary(totals: "Totals", seconds: float, *, device: str) -> str:
    answers = "1 answer" if totals.answers == 1 else f"{totals.answers} answers"
    text = f"{answers}, {totals.tokens} tokens in {seconds:.1f} s on {device}"
    if totals.cut_off:
        text += f"; {totals.cut_off} cut off at {totals.limit} tokens (--max-tokens)"
    return text
