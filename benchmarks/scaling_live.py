"""Engines added to a run that trains: tokens a second of the whole loop before and after `tetrad scale`."""

import asyncio
import signal
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from gsm8k_figures import read_records
from gsm8k_loop import SIZES
from gsm8k_rows import prepared_rows
from gsm8k_run_file import overrides
from scaling_setting import Setting

from tetrad_cli.launch.control import Request, ask
from tetrad_runtime.orphans import die_with_parent

NUM_STEPS: Final = 5
"""That count, on each side; one before them does not."""
MAX_ENGINES: Final = 4
POLL_S: Final = 0.25
STOP_S: Final = 60.0
"""For the run to end in order."""
TINY: Final = (
    "+experiment=demo",
    "trainer.train_batch_size=4",
    "trainer.policy_mini_batch_size=4",
    "generator.n_samples_per_prompt=4",
    "trainer.eval_before_train=false",
    "trainer.eval_interval=-1",
)


async def measure_scale(setting: Setting, _before: Mapping[str, float]) -> dict[str, float]:
    """Start with one engine, train, add engines, train on: the whole loop's rate on both sides."""
    num_engines = 2 if setting.is_tiny else min(MAX_ENGINES, len(setting.gpus) - 1)
    if num_engines < 2:
        raise ValueError(f"needs 3 GPUs, one for the learner and two for engines; {len(setting.gpus)} are visible")
    run_dir = setting.folder / "run"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tetrad_cli", "train", *words(setting, run_dir)),
        cwd=setting.folder,
        stdin=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
    try:
        alone = await rate(run_dir, process)
        began = time.monotonic()
        order = Request(op="scale", replicas={"rollout": num_engines})
        await ask(run_dir, order, deadline_s=setting.clock.left_s)
        await until(lambda: all_serve(run_dir, num_engines), process)
        seconds = time.monotonic() - began
        together = await rate(run_dir, process)
    finally:
        await stop(process)
    return {
        "scale_tokens_per_second_1_engine": alone,
        f"scale_tokens_per_second_{num_engines}_engines": together,
        f"scale_ratio_{num_engines}_engines": together / alone,
        "scale_seconds_until_all_serve": seconds,
    }


def words(setting: Setting, run_dir: Path) -> list[str]:
    """What the run is told: one engine, and steps without end."""
    if setting.is_tiny:
        chosen = list(TINY)
    else:
        if setting.data is None:
            raise ValueError("scale trains on GSM8K; name its folder with --data")
        train, test = prepared_rows(setting.data, setting.folder / "rows", num_test=8)
        chosen = overrides(
            SIZES["tutorial"], model=setting.model, train=train, test=test, run_dir=run_dir, backend="sglang"
        )
        chosen += ["trainer.placement.colocate_all=false", "trainer.fully_async.max_staleness_steps=1"]
    return [
        *chosen,
        f"trainer.run_dir={run_dir}",
        "trainer.max_steps=1000",
        "trainer.ckpt_interval=-1",
        "trainer.logger=[]",
        "generator.num_inference_engines=1",
    ]


async def rate(run_dir: Path, process: asyncio.subprocess.Process) -> float:
    """Median tokens a second of the next steps; the one that is under way does not count."""
    first = len(steps(run_dir)) + 1
    await until(lambda: asyncio.sleep(0, len(steps(run_dir)) >= first + NUM_STEPS), process)
    return statistics.median(steps(run_dir)[first : first + NUM_STEPS])


def steps(run_dir: Path) -> list[float]:
    """Tokens a second of every step so far."""
    name = "trainer/tokens_per_second"
    return [metrics[name] for _step, metrics in read_records(run_dir / "metrics.jsonl") if name in metrics]


async def all_serve(run_dir: Path, num_engines: int) -> bool:
    """Whether so many engines are certified."""
    reply = await ask(run_dir, Request(op="status"), deadline_s=STOP_S)
    ports = [one.port for one in reply.instances if one.role == "rollout"]
    ready = await asyncio.gather(*(asyncio.to_thread(is_ready, port) for port in ports))
    return sum(ready) >= num_engines


def is_ready(port: int) -> bool:
    """Whether the page of an engine's readiness says so."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=STOP_S) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


async def until(condition: Callable[[], Awaitable[bool]], process: asyncio.subprocess.Process) -> None:
    """Wait for it, as long as the part has; raise where the run ends before."""
    while not await condition():
        if process.returncode is not None:
            raise RuntimeError(f"the run ended with code {process.returncode}")
        await asyncio.sleep(POLL_S)


async def stop(process: asyncio.subprocess.Process) -> None:
    """Ask the run to end, and see to it."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
