"""Memory as it is here, and as a container's limit leaves it."""

from pathlib import Path

import pytest

from tetrad_runtime.host_memory import host_memory

MIB = 1 << 20


def a_cgroup(folder: Path, *, limit: str, used: int = 0, files: int = 0) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - files}\nshmem 5\ninactive_file {files}\nactive_file 0\n")
    return folder


def test_without_a_limit_it_is_the_hosts(tmp_path: Path):
    unlimited, none = host_memory(a_cgroup(tmp_path, limit="max")), host_memory(tmp_path / "nowhere")

    assert unlimited.total == none.total > unlimited.free > 0
    assert 0 < none.resident < none.total


@pytest.mark.parametrize(("used", "files", "free"), [(60, 0, 40), (60, 50, 90), (120, 0, 0)])
def test_a_limit_leaves_what_is_not_used_or_can_be_had_back(tmp_path: Path, used: int, files: int, free: int):
    memory = host_memory(a_cgroup(tmp_path, limit=str(100 * MIB), used=used * MIB, files=files * MIB))

    assert (memory.total, memory.free) == (100 * MIB, free * MIB)
