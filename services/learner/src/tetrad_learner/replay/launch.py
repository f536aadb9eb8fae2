"""Starts the ranks of a replay as those of a run are started, and waits for their answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tetrad_config import load_resolved, thread_environment, threads_per_process
from tetrad_learner.replay.job import Executed, Job, read_executed, write
from tetrad_learner.replay.source import ReplayError

LAST_LINES: Final = 20
# Where torchrun begins to describe, at length, that a rank has failed.
TORCHRUN_SAYS: Final = "torch/distributed/elastic/multiprocessing/api.py"


def launch(job: Job) -> Executed:
    """Execute the job in processes of its own; raises ReplayError with their last words where they fail."""
    with TemporaryDirectory(prefix="tetrad-replay-") as folder:
        order, answer, said = Path(folder, "job"), Path(folder, "executed"), Path(folder, "said")
        write(order, job)
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--max-restarts=0"),
            *(f"--nproc-per-node={job.world_size}", f"--log-dir={folder}", "-m", "tetrad_learner.replay.rank"),
            *(str(order), str(answer)),
        ]
        with said.open("w") as output:
            code = subprocess.run(
                command, env=_environment(job), stdout=output, stderr=subprocess.STDOUT, check=False
            ).returncode
        # A rank that was given numbers that are not finite takes the others down with it, once it has answered.
        if not answer.exists():
            raise ReplayError(f"the ranks failed with exit code {code}; they said:\n{_last_words(said)}")
        return read_executed(answer)


def _last_words(said: Path) -> str:
    lines = said.read_text(errors="replace").splitlines()
    ends = [number for number, line in enumerate(lines) if TORCHRUN_SAYS in line]
    return "\n".join(lines[: ends[0] if ends else None][-LAST_LINES:])


def _environment(job: Job) -> dict[str, str]:
    """As the launcher of a run makes it: the number of threads has a say in the last bits."""
    threads = threads_per_process(load_resolved(Path(job.config)), len(os.sched_getaffinity(0)))
    meeting_place = {"GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo")}
    return {**os.environ, **thread_environment(threads), **meeting_place}
