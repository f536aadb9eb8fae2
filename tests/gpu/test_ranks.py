"""Two ranks on two GPUs, over NCCL, compute what one rank on one GPU computes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpu.rank_program import CASES
from numerics.trainer_builders import a_model
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason=f"needs 2 GPUs; torch.cuda.device_count() is {torch.cuda.device_count()}"
)

DEADLINE_S = 300
KINDS = ("tied", "untied")
EXACT_WAYS = ("float32", "adapters", "recomputed")
EXACT = [case for case in CASES if case[1] in EXACT_WAYS]
CLOSE = [case for case in CASES if case[1] not in EXACT_WAYS]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks came to, and then one."""
    out = tmp_path_factory.mktemp("ranks")
    models = [str(a_model(out / kind, kind=kind)) for kind in KINDS]
    for num_ranks in (2, 1):
        launch(num_ranks, *models, str(out))
    return out


def launch(num_ranks: int, *arguments: str) -> None:
    """Run rank_program.py; ranks that are late are killed with their launcher."""
    program = Path(__file__).with_name("rank_program.py")
    tests = str(program.parent.parent)
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_ranks}"),
            *(str(program), *arguments),
        ],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")])),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as launcher:
        try:
            output, _ = launcher.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            # torchrun starts each rank in a session of its own; on SIGTERM it ends them.
            launcher.send_signal(signal.SIGTERM)
            output, _ = launcher.communicate(timeout=60)
            pytest.fail(f"{num_ranks} ranks took longer than {DEADLINE_S} s: {output[-4000:]}")
    assert launcher.returncode == 0, output[-6000:]


def of(results: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one rank and what two came to."""
    one, two = (dict(np.load(results / f"{name}-{num_ranks}.npz")) for num_ranks in (1, 2))
    return one, two


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize(("kind", "way"), EXACT)
def test_two_ranks_give_the_gradient_of_one(results: Path, kind: str, way: str) -> None:
    one, two = of(results, f"gradient-{kind}-{way}")

    np.testing.assert_allclose(two["array"], one["array"], rtol=0, atol=2e-5 * np.abs(one["array"]).max())
    for name in ("loss", "entropy", "grad_norm", "logprob_diff_mean"):
        assert float(two[name]) == pytest.approx(float(one[name]), abs=1e-4), name


@pytest.mark.parametrize(("kind", "way"), CLOSE)
def test_in_bfloat16_two_ranks_point_where_one_does(results: Path, kind: str, way: str) -> None:
    one, two = of(results, f"gradient-{kind}-{way}")

    assert cosine(two["array"], one["array"]) > 0.998
    assert float(two["grad_norm"]) == pytest.approx(float(one["grad_norm"]), rel=0.02)


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_what_the_loss_divides_by_is_counted_over_both_ranks(results: Path, kind: str, way: str) -> None:
    one, two = of(results, f"gradient-{kind}-{way}")

    assert float(two["tokens"]) == float(one["tokens"])


def test_a_rank_without_samples_changes_nothing(results: Path) -> None:
    one, two = of(results, "idle")

    np.testing.assert_allclose(two["array"], one["array"], rtol=0, atol=2e-5 * np.abs(one["array"]).max())
    assert float(two["tokens"]) == float(one["tokens"])


def test_the_first_of_two_ranks_exports_what_the_checkpoint_holds(results: Path) -> None:
    _, two = of(results, "at-checkpoint")

    # A folder of a model that is computed in bfloat16 is written in bfloat16.
    stored = load_file(results / "checkpoint" / "model.safetensors")
    exported = torch.from_numpy(two["array"]).to(torch.bfloat16)

    assert sum(tensor.numel() for tensor in stored.values()) == len(exported)
    start = 0
    for name, tensor in ordered(stored, results / "untied"):
        assert torch.equal(exported[start : start + tensor.numel()], tensor.flatten()), name
        start += tensor.numel()


def ordered(stored: dict[str, torch.Tensor], model: Path) -> list[tuple[str, torch.Tensor]]:
    """In the order in which a model of that folder names its weights."""
    from transformers import AutoModelForCausalLM

    names = AutoModelForCausalLM.from_pretrained(model).state_dict()
    return [(name, stored[name]) for name in names]


def test_one_rank_loads_exactly_what_two_saved_and_goes_on_as_they_do(results: Path) -> None:
    loaded, saved = of(results, "at-checkpoint")
    one, two = of(results, "after-checkpoint")

    assert np.array_equal(loaded["array"], saved["array"])
    steps = [after["array"] - saved["array"] for after in (one, two)]
    assert cosine(*steps) > 0.99
