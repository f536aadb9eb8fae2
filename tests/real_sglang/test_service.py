"""The rollout service around the real SGLang: what it says of its server, how it ends, and what ends with it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sglang_site.builders import DTYPE, IS_ON_GPU
from sglang_site.servers import ON_A_GPU

from tetrad_cli.launch.proc import start_ticks
from tetrad_config import load
from tetrad_config.resolved import dump_resolved
from tetrad_rollout.engine.sglang.server import capability
from tetrad_runtime.exits import ExitCode

pytestmark = [pytest.mark.sglang, pytest.mark.asyncio(loop_scope="session")]

START_S = 600.0
END_S = 20.0
LINE_LIMIT = 1 << 20


def a_run(folder: Path, run_dir: Path, **arguments: object) -> None:
    """Write the run file of engines that are started with these arguments."""
    extra = {**(ON_A_GPU if IS_ON_GPU else {}), **arguments}
    config = load(
        [
            "+experiment=demo",
            *("generator.backend=sglang", "trainer.placement.colocate_all=false", "generator.max_num_seqs=16"),
            *(f"trainer.policy.model.path={folder}", f"generator.model_dtype={DTYPE}"),
            *(f"+generator.engine_init_kwargs.{name}={json.dumps(value)}" for name, value in extra.items()),
        ],
        environ={},
    ).config
    (run_dir / "config.yaml").write_text(dump_resolved(config))


@asynccontextmanager
async def a_service(run_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A replica whose coordinator is not there: it loads its engine first."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tetrad_rollout"),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        limit=LINE_LIMIT,
        env={**environ, "TETRAD_RUN_DIR": str(run_dir), "TETRAD_COORDINATOR": f"ipc://{run_dir}/coordinator"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process, *events: str) -> list[dict[str, Any]]:
    """The log lines of these events, which come in this order; SGLang writes lines of its own."""
    assert process.stderr is not None
    found: list[dict[str, Any]] = []
    others = []
    while len(found) < len(events):
        line = await process.stderr.readline()
        assert line, f"the service ended and did not say {events[len(found)]}: {''.join(others)[-4000:]}"
        others.append(line.decode())
        if line.startswith(b"{") and (record := json.loads(line)).get("event") == events[len(found)]:
            found.append(record)
    return found


async def test_it_says_what_its_server_can_do_and_takes_sglangs_processes_along_when_it_is_killed(
    folder: Path, tmp_path: Path
) -> None:
    a_run(folder, tmp_path, disable_radix_cache=True)
    async with a_service(tmp_path) as service:
        starting, ready = await asyncio.wait_for(said(service, "server_starting", "server_ready"), START_S)
        began = {pid: start_ticks(pid) for pid in ready["pids"]}

        service.kill()
        await service.wait()
        async with asyncio.timeout(END_S):
            while any(start_ticks(pid) == ticks for pid, ticks in began.items()):  # noqa: ASYNC110 - others' doing
                await asyncio.sleep(0.05)

    found = capability()
    assert starting["capability"] == (".".join(map(str, found)) if found else "none")
    assert starting["cuda_graphs"] is IS_ON_GPU
    told = {name: starting[name] for name in ("tp_size", "radix_cache", "deterministic", "memory_saver", "lora")}
    assert told == {
        "tp_size": 1,
        "radix_cache": False,
        "deterministic": False,
        "memory_saver": False,
        "lora": False,
    }
    assert began
    assert None not in began.values()


async def test_an_argument_that_sglang_does_not_have_ends_it_as_a_fault_of_the_configuration(
    folder: Path, tmp_path: Path
) -> None:
    a_run(folder, tmp_path, context_lenght=4096)
    async with a_service(tmp_path) as service:
        assert service.stderr is not None
        text = (await asyncio.wait_for(service.stderr.read(), START_S)).decode()
        code = await asyncio.wait_for(service.wait(), END_S)

    assert code == ExitCode.CONFIG, text[-4000:]
    assert "context_lenght is no argument of the installed SGLang's ServerArgs; did you mean context_length?" in text
