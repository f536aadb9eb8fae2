"""Functions of others are found by entry point and by module, or refused with the reason."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tetrad_algorithms import plugins
from tetrad_algorithms.advantages import AdvantageOptions, Advantages, Outcomes, estimators
from tetrad_algorithms.losses import LossOptions, PolicyTokens, policy_losses
from tetrad_algorithms.masking import MiniBatchCounts, reductions
from tetrad_algorithms.plugins import PLUGIN_POINTS, PluginError
from tetrad_algorithms.registry import Registry, UnknownNameError
from tetrad_config.algorithm import AdvantageEstimator, Algorithm

THEIRS = """
import torch
from tetrad_algorithms.advantages import Advantages
from tetrad_algorithms.losses import TokenLoss

LIMIT = 3.0

def best(outcomes, options):
    return Advantages(token_T=torch.full(outcomes.sample_T.shape, LIMIT, dtype=torch.float32))

def grpo(outcomes, options):
    raise AssertionError("must not stand in for ours")

def one_for_all(outcomes, options):
    return Advantages(token_T=torch.zeros(()))

def short_returns(outcomes, options):
    return Advantages(token_T=torch.zeros(len(outcomes.sample_T)), returns_T=torch.zeros(1))

def bare(outcomes, options):
    return torch.zeros(len(outcomes.sample_T))

def three(outcomes, options, more):
    pass

def loss_of_mean(tokens, options):
    return TokenLoss(loss_T=tokens.learner_logprobs_T.mean(), is_clipped_T=torch.zeros(()))

def loss_without_gradient(tokens, options):
    loss_T = tokens.learner_logprobs_T.detach()
    return TokenLoss(loss_T=loss_T, is_clipped_T=torch.zeros_like(loss_T))

def bare_loss(tokens, options):
    return tokens.learner_logprobs_T

def one_weight(counts):
    return 1 / counts.tokens_N.sum()

def endless_weights(counts):
    return 1 / counts.tokens_N

class Family:
    @staticmethod
    def gentle(outcomes, options):
        return best(outcomes, options)
"""
OUTCOMES = Outcomes(rewards_N=torch.ones(2), group_N=torch.zeros(2), sample_T=torch.tensor([0, 0, 1]))
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution with the module `theirs` and the entry points of a text."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text(THEIRS)

    def add(name: str, entry_points: str) -> None:
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(entry_points)

    yield add
    for module in ("theirs", "broken"):
        sys.modules.pop(module, None)


def credit(name: str) -> Advantages:
    return estimators.get(name)(OUTCOMES, AdvantageOptions())


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize("name", ["theirs:best", "theirs:Family.gentle"])
def test_an_estimator_is_found_by_module_and_function(name: str) -> None:
    found = credit(name)

    assert found.token_T.tolist() == [3.0, 3.0, 3.0]
    assert found.token_T.dtype == torch.float64


def test_an_estimator_is_found_by_the_entry_point_of_an_installed_package(install: Install) -> None:
    install("theirs", "[tetrad.advantage_estimators]\nbest_of_group = theirs:Family.gentle\n")

    assert credit("best_of_group").token_T.tolist() == [3.0, 3.0, 3.0]


def test_one_entry_point_listed_twice_is_one(install: Install) -> None:
    for distribution in ("theirs", "theirs_again"):
        install(distribution, "[tetrad.advantage_estimators]\nbest_of_group = theirs:best\n")

    assert credit("best_of_group").token_T.tolist() == [3.0, 3.0, 3.0]


def test_a_name_that_two_packages_give_to_two_functions_is_refused(install: Install) -> None:
    install("theirs", "[tetrad.advantage_estimators]\nbest_of_group = theirs:best\n")
    install("others", "[tetrad.advantage_estimators]\nbest_of_group = others:best\n")

    with pytest.raises(PluginError, match=r"several packages register it \(others:best, theirs:best\); write one as"):
        estimators.get("best_of_group")


def test_a_name_of_ours_means_ours_whatever_is_installed(install: Install) -> None:
    install("theirs", "[tetrad.advantage_estimators]\ngrpo = theirs:grpo\n")

    assert credit("grpo").token_T.tolist() == [0.0, 0.0, 0.0]


def test_a_name_of_another_group_is_unknown_and_installed_names_are_suggested(install: Install) -> None:
    install(
        "theirs", "[tetrad.advantage_estimators]\nbest_of_group = theirs:best\n[tetrad.policy_losses]\nsoft = a:b\n"
    )

    with pytest.raises(
        UnknownNameError, match=r"'soft'; known are gae, grpo, maxrl, reinforce\+\+, rloo, best_of_group"
    ):
        estimators.get("soft")
    with pytest.raises(UnknownNameError, match="did you mean 'best_of_group'"):
        estimators.get("best_of_groups")


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no_such_module:best",
            r"no module 'no_such_module' \(looked first in .*\); start the run in the module's folder",
        ),
        ("theirs.inner:best", r"no module 'theirs\.inner'"),
        ("theirs:bst", r"module theirs has no 'bst'; did you mean 'best'\?"),
        ("theirs:Family.gentel", r"module theirs has no 'Family\.gentel'"),
        ("theirs:zzz", r"module theirs has no 'zzz'; it has Advantages, Family, TokenLoss"),
        ("theirs:LIMIT", r"it is of type float; it must be a function \(outcomes, options\)"),
        ("theirs:three", r"its parameters are \(outcomes, options, more\); it is called with \(outcomes, options\)"),
        ("theirs:", "it must be module:function"),
        (":best", "it must be module:function"),
    ],
)
def test_what_leads_to_no_function_is_refused_with_key_name_and_reason(name: str, message: str) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        estimators.get(name)

    assert str(caught.value).startswith(f"trainer.algorithm.advantage_estimator is {name!r}: ")


@pytest.mark.usefixtures("install")
def test_a_module_missing_inside_theirs_is_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import not_installed_anywhere\n")

    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        estimators.get("broken:best")


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "theirs:one_for_all",
            r"'theirs:one_for_all': token_T has shape \(\); one number for each of the 3 trained tokens",
        ),
        ("theirs:short_returns", r"returns_T has shape \(1,\); one number for each of the 3"),
        ("theirs:bare", r"'theirs:bare' returned Tensor; it must return Advantages"),
    ],
)
def test_a_result_that_would_be_broadcast_or_misread_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        credit(name)


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "theirs:loss_of_mean",
            r"loss_T has shape \(\); one number for each of the 2 tokens is needed, without any mean",
        ),
        ("theirs:loss_without_gradient", r"has no gradient; make it of learner_logprobs_T"),
        ("theirs:bare_loss", r"returned Tensor; it must return TokenLoss"),
    ],
)
def test_a_loss_that_would_be_broadcast_or_teach_nothing_is_refused(name: str, message: str) -> None:
    tokens = PolicyTokens(
        learner_logprobs_T=torch.zeros(2, requires_grad=True),
        old_logprobs_T=torch.zeros(2),
        rollout_logprobs_T=torch.zeros(2),
        advantages_T=torch.ones(2),
        sample_T=torch.zeros(2),
    )

    with pytest.raises(ValueError, match=message):
        policy_losses.get(name)(tokens, LossOptions())


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("theirs:one_weight", r"returned shape \(\); one weight for each of the 2 samples"),
        ("theirs:endless_weights", r"weights that are no finite numbers; clamp tokens_N to 1"),
    ],
)
def test_weights_that_would_be_broadcast_or_endless_are_refused(name: str, message: str) -> None:
    counts = MiniBatchCounts(tokens_N=torch.tensor([3, 0]), group_N=torch.zeros(2), max_sequence_tokens=8)

    with pytest.raises(ValueError, match=message):
        reductions.get(name)(counts)


def test_a_key_without_a_plugin_point_knows_its_own_names_only() -> None:
    registry: Registry[Callable[[], int]] = Registry("example.key")

    with pytest.raises(UnknownNameError, match=r"example\.key is 'math:sqrt'"):
        registry.get("math:sqrt")


def test_the_run_file_accepts_the_entry_points_that_are_looked_up_here(install: Install) -> None:
    points = {key.rpartition(".")[2]: point.group for key, point in PLUGIN_POINTS.items()}
    install("theirs", "".join(f"[{group}]\nfrom_{key} = theirs:best\n" for key, group in points.items()))

    algorithm = Algorithm.model_validate({key: f"from_{key}" for key in points})

    assert [getattr(algorithm, key) for key in points] == [f"from_{key}" for key in points]
    assert [plugins.installed(key) for key in PLUGIN_POINTS] == [(f"from_{key}",) for key in points]


def test_the_run_file_has_a_name_for_each_estimator_that_is_built() -> None:
    assert sorted(AdvantageEstimator) == list(estimators.names())
