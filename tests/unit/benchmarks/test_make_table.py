import json
from pathlib import Path

import pytest
from make_table import read_results, render

RESULT = {
    "name": "weight_sync",
    "hardware": {"slug": "cpu-2core", "processor": "AMD EPYC", "cores": 2, "memory_gib": 23.5},
    "versions": {"python": "3.11.7"},
    "commit": "0123456789abcdef-dirty",
    "command": "python benchmarks/weight_sync.py",
    "metrics": {"size_gigabytes": 1.004, "copy_ratio_to_memcpy": 0.4, "end_to_end_ratio_to_memcpy": 0.25},
}


def a_results_file(folder: Path, **changes: object) -> None:
    (folder / "weight_sync-cpu-2core.json").write_text(json.dumps({**RESULT, **changes}))


def test_each_metric_has_a_row_and_those_with_an_aim_come_first(tmp_path: Path):
    a_results_file(tmp_path)

    lines = render(read_results(tmp_path)).splitlines()

    rows = [line for line in lines if line.startswith("| weight_sync, cpu-2core")]
    assert rows == [
        "| weight_sync, cpu-2core | copy | 0.4 | × | memcpy | ≥ 0.5 | **no** |",
        "| weight_sync, cpu-2core | end to end | 0.25 | × | memcpy | ≥ 0.2 | yes |",
        "| weight_sync, cpu-2core | size | 1.004 | GB |  |  |  |",
    ]


def test_what_several_ranks_do_is_relative_to_one(tmp_path: Path):
    a_results_file(tmp_path, metrics={"tokens_per_second_2_ranks": 80_000.0, "ratio_0.5b_2_ranks": 1.9})

    page = render(read_results(tmp_path))

    assert "| weight_sync, cpu-2core | 2 ranks | 80,000 | tokens/s |  |  |  |" in page
    assert "| weight_sync, cpu-2core | 0.5b 2 ranks | 1.9 | × | one rank |  |  |" in page


def test_the_page_says_where_and_how_each_benchmark_was_run(tmp_path: Path):
    a_results_file(tmp_path)

    page = render(read_results(tmp_path))

    assert "| AMD EPYC, 2 cores, 23.5 GiB | python 3.11.7 | `0123456789-dirty` |" in page
    assert "`python benchmarks/weight_sync.py`" in page


def test_an_incomplete_results_file_is_refused_by_name(tmp_path: Path):
    (tmp_path / "wire-cpu.json").write_text(json.dumps({"name": "wire", "metrics": {}}))

    with pytest.raises(ValueError, match=r"wire-cpu\.json lacks command, commit, hardware, versions"):
        read_results(tmp_path)
