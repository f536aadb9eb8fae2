"""The page on functions of one's own: its code runs, by module and by entry point, and its commands are accepted."""

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from tetrad_algorithms.advantages import AdvantageOptions, Outcomes, estimators
from tetrad_algorithms.losses import LossOptions, PolicyTokens, policy_losses
from tetrad_algorithms.masking import MiniBatchCounts, reductions
from tetrad_algorithms.plugins import PLUGIN_POINTS
from tetrad_config import load

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "use-your-own-estimator-or-loss.md").read_text(encoding="utf-8")
FUNCTIONS = {"advantage_estimator": "above_median", "policy_loss_type": "pulled_back", "loss_reduction": "root_length"}


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture(params=["module:function", "entry point"])
def names(request, tmp_path, monkeypatch):
    """What the run file calls the page's functions, whose module is in a folder or comes from an installed package."""
    (tmp_path / "mine.py").write_text(block("python"))
    monkeypatch.syspath_prepend(tmp_path)
    is_installed = request.param == "entry point"
    if is_installed:
        install(tmp_path / "mine-1.0.dist-info")
    yield {key: name if is_installed else f"mine:{name}" for key, name in FUNCTIONS.items()}
    sys.modules.pop("mine", None)


def install(metadata: Path) -> None:
    """Write what installing a package with the page's pyproject.toml leaves beside its modules."""
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    groups = tomllib.loads(block("toml"))["project"]["entry-points"]
    lines = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in points.items()) for group, points in groups.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))


def test_the_estimator_compares_with_the_median(names):
    outcomes = Outcomes(
        rewards_N=torch.tensor([1.0, 5.0, 2.0, 7.0]),
        group_N=torch.tensor([3, 3, 3, 8]),
        sample_T=torch.tensor([0, 0, 1, 2, 3]),
    )

    found = estimators.get(names["advantage_estimator"])(outcomes, AdvantageOptions())

    assert found.token_T.tolist() == [-1.0, -1.0, 3.0, 0.0, 0.0]


def test_the_loss_has_the_gradient_that_it_says(names):
    learner_T = torch.tensor([-1.0, -2.0], dtype=torch.float64, requires_grad=True)
    tokens = PolicyTokens(
        learner_logprobs_T=learner_T,
        old_logprobs_T=torch.tensor([-1.0, -2.5], dtype=torch.float64),
        rollout_logprobs_T=torch.zeros(2),
        advantages_T=torch.tensor([2.0, -1.0], dtype=torch.float64),
        sample_T=torch.tensor([0, 1]),
    )

    policy_losses.get(names["policy_loss_type"])(tokens, LossOptions()).loss_T.sum().backward()

    expected = [-2.0, float(torch.tensor(0.5, dtype=torch.float64).exp()) + 0.5]
    torch.testing.assert_close(learner_T.grad, torch.tensor(expected, dtype=torch.float64))


def test_the_reduction_weighs_samples_by_the_root_of_their_length(names):
    counts = MiniBatchCounts(tokens_N=torch.tensor([4, 9]), group_N=torch.zeros(2), max_sequence_tokens=16)

    weight_N = reductions.get(names["loss_reduction"])(counts)

    assert (weight_N * counts.tokens_N).tolist() == pytest.approx([2 / 5, 3 / 5])


def test_the_run_file_takes_the_names(names):
    overrides = [f"trainer.algorithm.{key}={name}" for key, name in names.items()]

    algorithm = load(["+experiment=demo", *overrides], environ={}).config.trainer.algorithm

    assert {key: getattr(algorithm, key) for key in names} == names


def test_the_command_of_the_page_is_accepted():
    command = shlex.split(block("bash").replace("\\\n", ""))
    assert command[:2] == ["tetrad", "train"]

    algorithm = load(command[2:], environ={}).config.trainer.algorithm

    assert {key: getattr(algorithm, key) for key in FUNCTIONS} == {k: f"mine:{v}" for k, v in FUNCTIONS.items()}


def test_the_page_names_each_key_that_takes_a_function_and_its_group():
    assert all(f"`{key}`" in PAGE and f'"{point.group}"' in PAGE for key, point in PLUGIN_POINTS.items())
