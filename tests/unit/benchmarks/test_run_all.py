import time
from pathlib import Path

from run_all import BENCHMARKS, FOLDER, Benchmark, run


def a_benchmark(folder: Path, program: str, *, timeout_s: float) -> Benchmark:
    path = folder / "program.py"
    path.write_text(program)
    return Benchmark(name="it", arguments=(str(path),), timeout_s=timeout_s)


def test_each_benchmark_is_a_program_of_the_folder():
    assert all((FOLDER / benchmark.arguments[0]).is_file() for benchmark in BENCHMARKS)


def test_whatever_writes_results_is_run_and_weights_by_collectives_too():
    programs = {path.name for path in FOLDER.glob("*.py") if " write_results(" in path.read_text()}
    programs.discard("results_file.py")

    # That one reads a folder of a run that has taken hours.
    assert programs - {benchmark.arguments[0] for benchmark in BENCHMARKS} == {"tutorial_run.py"}
    (over_nccl,) = [benchmark for benchmark in BENCHMARKS if "nccl" in benchmark.arguments]
    assert (over_nccl.arguments[0], over_nccl.min_gpus) == ("weight_sync_gpu.py", 2)


def test_one_that_ends_well_has_nothing_to_say(tmp_path: Path):
    assert run(a_benchmark(tmp_path, "pass", timeout_s=30)) is None


def test_one_that_fails_is_named_with_its_code(tmp_path: Path):
    assert run(a_benchmark(tmp_path, "raise SystemExit(3)", timeout_s=30)) == "it ended with code 3"


def test_one_that_takes_too_long_is_ended(tmp_path: Path):
    began = time.monotonic()

    failure = run(a_benchmark(tmp_path, "import time; time.sleep(60)", timeout_s=1.0))

    assert failure == "it was ended after 1 s"
    assert time.monotonic() - began < 20
