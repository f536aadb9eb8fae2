"""A server that finds too little memory at its start: its own words, the change that fits, and whose fault it is."""

import subprocess
import sys

import pytest

from tetrad_rollout.engine.sglang.start_report import REPORT, memory_fault, started
from tetrad_runtime.exits import ConfigFault, ExitCode, exit_code_of

pytestmark = pytest.mark.timeout(60)

NO_CACHE = (
    "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=0.2. "
    "Raise --mem-fraction-static above 0.214 (minimum viable = 1 - available/pre = 0.2138)."
)
NO_TOKENS = (
    "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. "
    "Current value: mem_fraction_static=0.2"
)
GPU_FULL = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB"
)
KEY = "generator.gpu_memory_utilization"


@pytest.mark.parametrize(
    ("text", "share", "fix"),
    [
        (NO_CACHE, 0.2, f"set {KEY}=0.22 or more"),
        (NO_TOKENS, 0.2, f"set {KEY}=0.21 or more"),
        (NO_CACHE.replace("0.214", "0.960"), 0.2, "generator.inference_engine_tensor_parallel_size"),
        # What it names is less than what there was.
        (NO_CACHE, 0.5, f"set {KEY}=0.51 or more"),
        (GPU_FULL, 0.8, f"lower {KEY} from 0.8, then generator.max_num_seqs"),
    ],
)
def test_the_smallest_change_that_fits_is_named_beside_the_servers_own_words(text: str, share: float, fix: str) -> None:
    fault = memory_fault(text, share=share)

    assert fault is not None
    assert fix in str(fault)
    assert text in str(fault)


def test_what_is_not_about_memory_is_left_alone() -> None:
    def fail() -> None:
        raise RuntimeError("Initialization failed. Please see the error messages above.")

    with pytest.raises(RuntimeError, match="Initialization failed"):
        started(fail, share=0.2)


def a_scheduler(error: str) -> str:
    return (
        "from tetrad_rollout.engine.sglang.start_report import reporting\n"
        f"with reporting():\n    raise {error.partition(': ')[0].rpartition('.')[2]}({error.partition(': ')[2]!r})\n"
    )


@pytest.mark.parametrize("text", [NO_CACHE, NO_TOKENS])
def test_why_its_process_ended_reaches_whoever_started_it_as_a_fault_of_the_configuration(text: str) -> None:
    ends: list[int] = []

    def start() -> None:
        ends.append(subprocess.run([sys.executable, "-c", a_scheduler(text)], check=False).returncode)
        # All that SGLang's own start hears of it.
        raise EOFError

    with pytest.raises(ConfigFault) as caught:
        started(start, share=0.2)

    assert ends == [ExitCode.CONFIG]
    assert text in str(caught.value)
    assert exit_code_of(ExceptionGroup("", [caught.value])) is ExitCode.CONFIG


def test_a_process_that_ends_for_another_reason_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REPORT, raising=False)

    def start() -> None:
        done = subprocess.run([sys.executable, "-c", a_scheduler("KeyError: x")], check=False, capture_output=True)
        assert b"KeyError" in done.stderr
        raise EOFError

    with pytest.raises(EOFError):
        started(start, share=0.2)
