"""The learner's part of a step: forward, backward and optimizer of one rank, against TRL and against the hardware.

Both sides train on the same samples (prompts of 128 tokens, responses of 128 to 640, mean 384; random weights of a
model's shape), float32 master weights, one optimizer step on fresh samples, no KL. Ours packs rows of so many tokens
without padding; TRL takes as many samples a pass as fill such a row on average. Model FLOPs utilisation counts what the
gradient needs (no padding, nothing computed twice) and is relative to the bfloat16 rate of a large matrix product that
is measured in the same run. Each measurement has a process of its own, so that its peak of memory is its own.

On a CPU: a model of 16M parameters, padded rows, the two sides in turns.

    python benchmarks/learner.py [--shapes 0.5b 1.5b] [--rows 1024 2048 4096 8192] [--accelerator "NVIDIA H200"]
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from learner_setting import SHAPES, Setting, make_model
from results_file import RESULTS, ROOT, hardware_slug, write_results

OURS: Final = Path(__file__).with_name("learner_ours.py")
TRL: Final = Path(__file__).with_name("learner_trl.py")
TRL_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"
MODELS: Final = ROOT / "outputs" / "models"
TIMEOUT_S: Final = 400.0
GIB: Final = 2**30
MAIN_ROW: Final = 4096
VARIANTS: Final[Mapping[str, dict[str, bool | int]]] = {
    "eager": {"use_torch_compile": False},
    "resharded": {"is_resharded": True},
    "checkpointing": {"gradient_checkpointing": True, "use_torch_compile": False},
    "compiled_checkpointing": {"gradient_checkpointing": True},
    "unchunked": {"is_chunked": False},
    "trl": {"use_torch_compile": False},
    "trl_8k": {"use_torch_compile": False, "row_tokens": 8192, "rows": 8},
}
"""What is measured beside our compiled layers without recomputation; those of TRL are its trainer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one process measured."""

    step_s: float
    """Median of the counted steps."""
    peak_gib: float


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["16m"], help="models (default 16m)")
    parser.add_argument("--rows", nargs="+", type=int, default=[2048], help="tokens of a row (default 2048)")
    parser.add_argument("--accelerator", default="", help="name of the GPU; measures on it (default: the CPU)")
    parser.add_argument(
        "--trl-python", type=Path, default=TRL_PYTHON, help="interpreter with TRL (default %(default)s)"
    )
    parser.add_argument(
        "--variants",
        nargs="*",
        choices=VARIANTS,
        default=list(VARIANTS),
        help="at the main row of a GPU (default all)",
    )
    parser.add_argument("--extend", action="store_true", help="keep the figures of an earlier results file")
    parser.add_argument("--turns", type=int, default=2, help="turns of each side on a CPU (default 2)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments = parser.parse_args()
    path = arguments.results / f"learner-{hardware_slug(arguments.accelerator)}.json"
    metrics: dict[str, float] = json.loads(path.read_text())["metrics"] if arguments.extend and path.exists() else {}
    for name, value in measurements(arguments):
        metrics[name] = value
        print(f"{name} = {value:.4g}", flush=True)
        # After each figure, so that a run that is cut off leaves what it has measured.
        write(metrics, arguments)


def write(metrics: dict[str, float], arguments: argparse.Namespace) -> None:
    """Write the results so far."""
    write_results(
        "learner",
        metrics,
        other_versions={name: version(name) for name in ("torch", "transformers")} | {"os": platform.system()},
        accelerator=arguments.accelerator,
        folder=arguments.results,
    )


def measurements(arguments: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """Yield every figure as it is found."""
    if not arguments.accelerator:
        for name in arguments.shapes:
            yield from on_cpu(name, arguments)
        return
    peak = matmul_flops()
    yield "bf16_matmul_teraflops_per_s", peak / 1e12
    for name in arguments.shapes:
        yield from on_gpu(name, arguments, peak)


def on_cpu(name: str, arguments: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """Both sides in turns."""
    model = make_model(name, MODELS / f"random-{name}")
    setting = Setting(
        shape=name,
        model=str(model),
        row_tokens=arguments.rows[0],
        rows=2,
        prompt_tokens=32,
        mean_response_tokens=96,
        num_steps=3,
        num_warm_up_steps=1,
        device="cpu",
    )
    pairs = [(run(OURS, setting), run(TRL, setting, python=arguments.trl_python)) for _ in range(arguments.turns)]
    ours, theirs = (statistics.median(side.step_s for side in sides) for sides in zip(*pairs, strict=True))
    yield f"tokens_per_second_{name}", setting.num_tokens / ours
    yield f"trl_tokens_per_second_{name}", setting.num_tokens / theirs
    yield f"train_{name}_ratio_to_trl", statistics.median(b.step_s / a.step_s for a, b in pairs)
    yield f"peak_memory_{name}_gib", max(pair[0].peak_gib for pair in pairs)
    yield f"trl_peak_memory_{name}_gib", max(pair[1].peak_gib for pair in pairs)


def on_gpu(name: str, arguments: argparse.Namespace, peak: float) -> Iterator[tuple[str, float]]:
    """Ours at every row length, then what single settings change at the main one, then TRL."""
    model = make_model(name, MODELS / f"random-{name}")
    base = Setting(shape=name, model=str(model), row_tokens=MAIN_ROW, rows=16, use_torch_compile=True)
    ours: dict[int, float] = {}
    for tokens in sorted(arguments.rows, key=lambda tokens: tokens != MAIN_ROW):
        setting = dataclasses.replace(base, row_tokens=tokens, rows=base.rows * MAIN_ROW // tokens)
        found = run(OURS, setting)
        ours[tokens] = found.step_s
        yield from figures(f"{name}_{tokens // 1024}k", setting, found, peak)
    for variant in arguments.variants:
        setting = dataclasses.replace(base, **VARIANTS[variant])  # type: ignore[arg-type]  # its fields
        is_ours = not variant.startswith("trl")
        python = Path(sys.executable) if is_ours else arguments.trl_python
        try:
            found = run(OURS if is_ours else TRL, setting, python=python)
        except subprocess.SubprocessError as error:
            print(f"{name} {variant}: not measured: {error}", file=sys.stderr, flush=True)
            continue
        for figure, value in figures(f"{name}_{setting.row_tokens // 1024}k", setting, found, peak):
            yield f"{variant if is_ours else 'trl'}_{figure}", value
        if not is_ours and setting.row_tokens in ours:
            ratio = found.step_s / ours[setting.row_tokens]
            yield f"train_{name}_{setting.row_tokens // 1024}k_ratio_to_trl", ratio


def figures(label: str, setting: Setting, found: Found, peak: float) -> Iterator[tuple[str, float]]:
    """Yield what a measurement says."""
    yield f"mfu_{label}_ratio", setting.flops() / found.step_s / peak
    yield f"tokens_per_second_{label}", setting.num_tokens / found.step_s
    yield f"peak_memory_{label}_gib", found.peak_gib


def run(program: Path, setting: Setting, *, python: Path = Path(sys.executable)) -> Found:
    """Measure in a process of its own."""
    threads = {"OMP_NUM_THREADS": str(setting.num_threads)} if setting.device == "cpu" else {}
    done = subprocess.run(
        [python, program, setting.text()],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, **threads, "TOKENIZERS_PARALLELISM": "false"},
    )
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr, flush=True)
        done.check_returncode()
    record = json.loads(done.stdout.splitlines()[-1])
    return Found(step_s=statistics.median(record["step_s"]), peak_gib=record["peak_bytes"] / GIB)


def matmul_flops(size: int = 8192, repeats: int = 20) -> float:
    """Operations a second of a bfloat16 product of random square matrices."""
    import torch

    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        left @ right
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        left @ right
    end.record()
    torch.cuda.synchronize()
    rate = 2.0 * size**3 * repeats / (start.elapsed_time(end) / 1e3)
    del left, right
    torch.cuda.empty_cache()
    return rate


if __name__ == "__main__":
    main()
