"""Parts 4 and 5: what a run prints, logs and moves."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tutorial.proof import shown_by
from tutorial.verdict import NeedsGpuError, PendingError, Promise
from tutorial.walk import LAST_STEP, RUN, STEPS, Walk
from tutorial.workshop import ROOT

TRAIN, PRINTED, LOOP, LIST = 9, 11, 13, 14
LINE: Final = re.compile(r"^Step (\d+): (.*)$", re.MULTILINE)
NAME: Final = re.compile(r"([\w/@]+)=")
# SkyRL's own names of what the tutorial calls otherwise.
ALSO: Final[Mapping[str, str]] = {
    "train/policy_loss": "policy/policy_loss",
    "train/kl_loss": "policy/policy_kl",
    "train/mean_reward": "reward/avg_raw_reward",
    "eval/all/mean_reward": "eval/all/avg_score",
}
RESULTS: Final = ROOT / "benchmarks" / "results"
MEASURE: Final = "python benchmarks/tutorial_run.py RUN_DIR"
MODEL: Final = "Qwen2.5-0.5B-Instruct"
RULES: Final = ("strict", "flexible")
CLAIMED: Final = (0.24, 0.45)
"""Accuracy before training and after 50 steps."""
ABOUT: Final = 0.05
CLAIMED_HOURS: Final = 3.0
FLUSHES: Final = "tests/conformance/test_engines.py::TestTransformers::test_an_idle_commit_flushes"


def lines_in(text: str) -> dict[int, list[str]]:
    """Return the names in the `Step N: name=value, …` lines of a text, by step.

    >>> lines_in("Step 5: eval/all/pass_at_1=0.2684, eval/all/mean_reward=0.27, ...")
    {5: ['eval/all/pass_at_1', 'eval/all/mean_reward']}
    """
    seen: dict[int, list[str]] = {}
    for found in LINE.finditer(text):
        # What a step trained and what its evaluation found are lines of their own.
        seen.setdefault(int(found[1]), []).extend(NAME.findall(found[2]))
    return seen


def printed_by(walk: Walk) -> str:
    """Return what the run of Part 4 printed, to its last step."""
    assert walk.goes_on is not None, walk.failed.get(15) or "the run did not go on"
    return walk.result(TRAIN).out + walk.goes_on.out


def console(walk: Walk) -> str:
    """T13."""
    text = printed_by(walk)
    seen = lines_in(text)
    promised = lines_in(walk.block(PRINTED).text)
    for step, names in promised.items():
        assert set(names) <= set(seen.get(step, [])), f"step {step} prints {seen.get(step)}, not {names}"
    example = next(found[0] for found in LINE.finditer(text) if found[1] == "5" and "pass_at_1" in found[2])
    return f"steps {', '.join(map(str, promised))} print what they should: {example}"


def names(walk: Walk) -> str:
    """T14."""
    figures: dict[str, float] = {}
    for step in walk.metrics().values():
        figures |= step
    wanted = {*ALSO, *ALSO.values(), "eval/all/pass_at_1"}
    assert wanted <= figures.keys(), wanted - figures.keys()
    assert all(math.isfinite(value) for value in figures.values())
    return f"both names of each: {', '.join(f'{ours} = {theirs}' for ours, theirs in ALSO.items())}"


def tensorboard(walk: Walk) -> str:
    """T15."""
    assert walk.scalars, walk.failed.get(12)
    (tags,) = [tags for run, tags in walk.scalars.items() if RUN in run]
    assert {*ALSO, *ALSO.values()} <= set(tags), tags
    return f"TensorBoard over outputs/ has {len(tags)} scalars of {RUN}, both names among them"


def standard_deviation(walk: Walk) -> str:
    """T16."""
    import torch

    from tetrad_algorithms.advantages.grpo import grpo
    from tetrad_algorithms.advantages.outcomes import AdvantageOptions, GrpoStd, Outcomes

    text = walk.block(LOOP).text
    promised = [float(number.replace("−", "-")) for number in re.findall(r"/ 0\.433 = ([+−-]\d\.\d+)", text)]
    rewards = [float(number) for number in re.findall(r"reward=(\d\.\d)", text)]
    outcomes = Outcomes(rewards_N=torch.tensor(rewards), group_N=torch.zeros(4), sample_T=torch.arange(4))
    found = {}
    for kind in (GrpoStd.POPULATION, GrpoStd.SAMPLE):
        advantages = grpo(outcomes, AdvantageOptions(grpo_std=kind)).token_T
        found[kind.value] = [round(one, 2) for one in advantages.tolist()]
    assert found["population"] == promised, (found, promised)
    assert found["sample"] == [0.5, 0.5, -1.5, 0.5], found
    return f"rewards {rewards} give {found}; grpo_std says which"


def sync_time(walk: Walk) -> str:
    """T18."""
    seconds = sorted(step["timing/publish"] for step in walk.metrics().values() if "timing/publish" in step)
    assert len(seconds) >= LAST_STEP, len(seconds)
    middle, slow = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
    return f"timing/publish: p50 {middle:.3f} s, p99 {slow:.3f} s over {len(seconds)} steps of the small model"


def flush(walk: Walk) -> str:
    """T19."""
    assert "Clears KV cache after update" in walk.block(LOOP).text
    logs = "".join(path.read_text(encoding="utf-8") for path in sorted((walk.outputs() / "logs").glob("rollout*.log")))
    commits = [line for line in logs.splitlines() if "weights_committed" in line]
    assert len(commits) > LAST_STEP, len(commits)
    assert all("cache_policy=flush" in line for line in commits), commits
    return f"{len(commits)} commits of weights, each with a flush; {shown_by(FLUSHES)}"


def checkpoints(walk: Walk) -> str:
    """T20."""
    listed = walk.result(LIST).out.split()
    wanted = [f"global_step_{step}" for step in range(10, STEPS[TRAIN] + 1, 10)]
    assert [name for name in listed if name.startswith("global_step_")] == wanted, listed
    folder = walk.workshop.home / "ckpts"
    left = sorted(path.name for path in folder.glob("global_step_*"))
    assert left == [f"global_step_{step}" for step in range(10, LAST_STEP + 1, 10)], left
    best = (folder / "best").resolve().name
    assert best in left, best
    planned = walk.workshop.run("tetrad plan --config-path . --config-name my_training_config").succeeded().out
    disk = next(line.strip() for line in planned.splitlines() if "disk for checkpoints" in line)
    return (
        f"at step {STEPS[TRAIN]}: {', '.join(wanted)}; at {LAST_STEP}: {', '.join(left)} (best: {best}); plan: {disk}"
    )


def curve(walk: Walk) -> str:
    """T30."""
    measured = sorted(RESULTS.glob("tutorial_run-*.json"))
    if measured:
        return "; ".join(compared(path) for path in measured)
    scores = _scores(walk)
    small = f"the small model goes from {scores[0]:.2f} to {scores[-1]:.2f} in {LAST_STEP} steps"
    if walk.machine.has_gpu:
        raise PendingError(f"{small}; the whole run of Part 4 and then {MEASURE} would measure Qwen2.5")
    raise NeedsGpuError(f"{small}, which says nothing about Qwen2.5; {MEASURE} writes what a run on GPUs came to")


def compared(path: Path) -> str:
    """Return what a results file of the tutorial's run says beside the claim; raises AssertionError where it is less.

    The tutorial does not say by which rule it counts: one of them has to begin and to end where it says.
    """
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    metrics, model = result["metrics"], result["setting"]["model"]
    assert model == MODEL, f"{path.name} is of {model}, not of {MODEL}"
    found = {
        mode: (metrics[f"{mode}_before_correct_share"], metrics[f"{mode}_step_50_correct_share"]) for mode in RULES
    }
    hours = metrics["step_50_hours"]
    said = ", ".join(f"{mode} {before:.1%} to {after:.1%}" for mode, (before, after) in found.items())
    evidence = f"{said} in 50 steps, {hours:.2f} hours ({path.name})"
    before, after = CLAIMED
    assert any(abs(x - before) <= ABOUT and y >= after - ABOUT for x, y in found.values()), evidence
    assert hours <= CLAIMED_HOURS, evidence
    return evidence


def _scores(walk: Walk) -> Sequence[float]:
    figures = walk.metrics()
    scores = [figures[step]["eval/all/pass_at_1"] for step in sorted(figures) if "eval/all/pass_at_1" in figures[step]]
    assert len(scores) >= 2, scores
    return scores


RUN_PROMISES: Final = (
    Promise("T13", "the console prints pass_at_1 and mean_reward", console),
    Promise("T14", "train/policy_loss, train/kl_loss, train/mean_reward", names),
    Promise("T15", "tensorboard --logdir outputs/", tensorboard),
    Promise("T16", "group std 0.433: +0.58, −1.73", standard_deviation),
    Promise("T18", "weights are broadcast in about 1.9 s", sync_time, "seconds of the real model"),
    Promise("T19", "the KV cache is cleared after an update", flush, "SGLang's cache"),
    Promise("T20", "ls ~/ckpts/ shows global_step_10, 20, 30", checkpoints),
    Promise("T30", "~24 % to ~45 % in 50 steps, 2–3 hours", curve),
)
