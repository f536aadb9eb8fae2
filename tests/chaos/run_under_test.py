"""A real training run in a folder of its own: started as a user does, watched through its ledger, hurt by signals."""

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tetrad_cli.launch.control import InstanceStatus, Request, ask

SLOW_REWARD = '''
import time


def grade(response: str, ground_truth: str | None) -> float:
    """One sum after the other, slowly, so that there is time to hurt the run between two samples."""
    time.sleep({seconds})
    return float(response == ground_truth)
'''
NUM_STEPS = 4
GROUP_SIZE = 4
BATCH = 2
OVERRIDES = (
    "+experiment=demo",
    f"trainer.max_steps={NUM_STEPS}",
    f"trainer.train_batch_size={BATCH}",
    f"trainer.policy_mini_batch_size={BATCH}",
    "trainer.ckpt_interval=2",
    "trainer.eval_before_train=false",
    "trainer.eval_interval=-1",
    "trainer.eval_sampled_n=0",
    "trainer.run_name=chaos",
    "trainer.logger=[]",
    "generator.deterministic=true",
    f"generator.n_samples_per_prompt={GROUP_SIZE}",
    f"generator.max_num_seqs={GROUP_SIZE}",
    "generator.lease_progress_timeout=8",
    "generator.weight_sync_timeout=15",
)


class RunUnderTest:
    """One `tetrad train` in the foreground of nobody."""

    def __init__(self, folder: Path, *overrides: str, grade_s: float = 0.0) -> None:
        self.folder = folder
        self.run_dir = folder / "outputs" / "chaos"
        self.overrides = (*OVERRIDES, *overrides, *self._slow_reward(grade_s))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RunUnderTest":
        """Start the run; return at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "train.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tetrad_cli", "train", *self.overrides],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def finish(self, *, timeout_s: float = 150.0) -> int:
        """Wait for the end of the run; return its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the run did not end within {timeout_s:g} s:\n{self.last_words()}") from None

    def last_words(self) -> str:
        """The ends of all logs, for the person who reads the failure."""
        logs = sorted(self.run_dir.glob("logs/*.log"))
        return "\n".join(f"== {log.name}\n" + "\n".join(log.read_text().splitlines()[-25:]) for log in logs)

    def log(self, name: str) -> str:
        """What one process has logged."""
        return (self.run_dir / "logs" / f"{name}.log").read_text()

    def stop(self) -> None:
        """End whatever is left, for the clean-up of a failed test."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # ---- hurting it

    def instance(self, name: str) -> InstanceStatus:
        """A process as the launcher knows it."""
        return next(one for one in self.instances() if one.name == name)

    def instances(self) -> tuple[InstanceStatus, ...]:
        """All processes that the launcher knows."""
        return asyncio.run(ask(self.run_dir, Request(op="status"), deadline_s=10.0)).instances

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process; return its pid."""
        pid = self.instance(name).pid
        assert pid is not None
        os.kill(pid, number)
        return pid

    def scale(self, role: str, replicas: int) -> None:
        """As `tetrad scale` does."""
        asyncio.run(ask(self.run_dir, Request(op="scale", replicas={role: replicas}), deadline_s=90.0))

    def rank_pids(self) -> list[int]:
        """The trainer ranks."""
        return [pid for pid in self.processes() if b"tetrad_learner.rank" in _cmdline(pid) and _is_rank(pid)]

    # ---- watching it

    def count(self, query: str) -> int:
        """A number from the ledger; 0 before there is one."""
        path = self.run_dir / "ledger.sqlite"
        if not path.exists():
            return 0
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as db:
            try:
                return int(db.execute(query).fetchone()[0] or 0)
            except sqlite3.OperationalError:
                return 0

    def leases_by_replica(self) -> dict[str, int]:
        """Leases that each rollout replica was ever granted, by its name."""
        names = dict(re.findall(r"member_joined.*incarnation=(\S+).*name=(\S+)", self.log("learner")))
        leases = "SELECT count(*) FROM leases WHERE engine = '{}'"
        found = Counter({name: 0 for name in names.values() if name.startswith("rollout")})
        for incarnation, name in names.items():
            found[name] += self.count(leases.format(incarnation))
        return {name: count for name, count in found.items() if count}

    def filled(self) -> int:
        """Samples in the inbox now."""
        return self.count("SELECT count(*) FROM slots WHERE state = 'filled'")

    def executed(self) -> int:
        """Steps executed."""
        return self.count("SELECT count(*) FROM steps WHERE state != 'sealed'")

    def sealed(self) -> int:
        """Steps sealed."""
        return self.count("SELECT count(*) FROM steps")

    def until(self, condition: Callable[[], bool], what: str, *, timeout_s: float = 90.0) -> None:
        """Wait for a condition; fail naming it."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            is_over = self._process is not None and self._process.poll() is not None
            assert not is_over, f"the run ended before {what}:\n{self.last_words()}"
            assert time.monotonic() < deadline, f"no {what} within {timeout_s:g} s:\n{self.last_words()}"
            time.sleep(0.01)

    def processes(self) -> list[int]:
        """Every living process that belongs to this run."""
        mark = f"TETRAD_RUN_DIR={self.run_dir}".encode()
        relative = f"TETRAD_RUN_DIR={self.run_dir.relative_to(self.folder)}".encode()
        return [pid for pid in _pids() if _belongs(pid, mark, relative, self.folder)]

    # ---- judging it

    def check_fates(self) -> None:
        """Every drawn slot has one fate; every step is executed once on the surviving lineage and covered."""
        assert self.count("SELECT count(*) FROM slots WHERE state NOT IN ('sealed', 'dropped')") == 0
        drawn = self.count("SELECT sum(size) FROM groups")
        assert drawn == self.count("SELECT count(*) FROM slots")
        assert self.count("SELECT count(*) FROM slots WHERE state = 'sealed'") == NUM_STEPS * BATCH * GROUP_SIZE
        assert self.count("SELECT count(*) FROM steps WHERE state = 'covered'") == NUM_STEPS
        assert self.count("SELECT count(*) FROM leases WHERE state = 'held'") == 0

    def check_nothing_is_left(self) -> None:
        """No process, no shared memory."""
        deadline = time.monotonic() + 15
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.processes() == []
        run = self.meta("run")
        assert [path.name for path in Path("/dev/shm").iterdir() if run and run in path.name] == []

    def meta(self, key: str) -> str:
        """A property of the run."""
        with contextlib.closing(sqlite3.connect(self.run_dir / "ledger.sqlite")) as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def weights(self) -> bytes:
        """The final model."""
        return self._final_model().read_bytes()

    def has_ended_well(self) -> bool:
        """Whether the last checkpoint was written, which is then in its place as a whole."""
        return self._final_model().exists()

    def _final_model(self) -> Path:
        return self.run_dir / "checkpoints" / f"global_step_{NUM_STEPS}" / "model.safetensors"

    def _slow_reward(self, seconds: float) -> tuple[str, ...]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "slow_reward.py"
        path.write_text(SLOW_REWARD.format(seconds=seconds))
        return (f"reward.implementation={path}:grade",)


MakeRun = Callable[..., RunUnderTest]
"""Overrides and the seconds of a grade in, a run out."""


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _belongs(pid: int, mark: bytes, relative: bytes, folder: Path) -> bool:
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        is_zombie = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        here = os.readlink(f"/proc/{pid}/cwd")
    except (OSError, IndexError):
        return False
    return not is_zombie and (mark in entries or (relative in entries and here == str(folder)))


def _cmdline(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _is_rank(pid: int) -> bool:
    """Whether it is a rank and not torchrun, which has the same words on its command line."""
    return b"torch.distributed.run" not in _cmdline(pid)
