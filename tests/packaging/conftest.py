"""What the packaging tests share: every wheel of the workspace, and empty environments to install into."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.prefix) / "bin" / "uv"
# What uv says when there is no registry to ask.
UNREACHABLE = ("error sending request", "Failed to fetch", "dns error", "Could not connect", "operation timed out")


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment of its own."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        # Neither the checkout nor the caller's environment shall lend it a package.
        words = [str(self.folder / "bin" / command[0]), *command[1:]]
        return subprocess.run(
            words,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run uv; skips the test where no registry answers."""
    done = subprocess.run([str(UV), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode != 0 and any(words in done.stderr for words in UNREACHABLE):
        pytest.skip(f"no package registry can be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return done


def tool(name: str) -> ModuleType:
    """Import a script of `tools/`."""
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def check_dependencies() -> ModuleType:
    return tool("check_dependencies")


@pytest.fixture(scope="session")
def check_sizes() -> ModuleType:
    return tool("check_sizes")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of every distribution."""
    if not UV.exists():
        pytest.skip("uv is not installed; run make setup")
    folder = tmp_path_factory.mktemp("wheels")
    uv("build", "--all-packages", "--wheel", "--quiet", "--out-dir", str(folder))
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    uv("venv", "--quiet", "--python", sys.executable, str(tmp_path / "environment"))
    return Environment(tmp_path / "environment")


Install = Callable[[Environment, Sequence[str]], str]


@pytest.fixture
def install(wheels: Path) -> Install:
    """Install by name, ours from the wheels and others from the registry; returns what uv says."""

    def _install(environment: Environment, arguments: Sequence[str]) -> str:
        where = ("--python", str(environment.python), "--find-links", str(wheels))
        return uv("pip", "install", *where, *arguments).stderr

    return _install
