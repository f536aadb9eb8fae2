"""Write `docs/reference/claimed-and-measured.md`: the tutorial's numbers beside those of `benchmarks/results`.

A cell is filled only from a results file that measured what the tutorial speaks of. Nothing is computed from other
figures, and nothing is guessed.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from make_protocol_reference import table
from reference_page import publish

RESULTS: Final = Path(__file__).parents[1] / "benchmarks" / "results"
MODEL: Final = "Qwen2.5-0.5B-Instruct"
Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric that answers a claim."""

    label: str
    benchmark: str
    metric: str
    unit: str
    model: str | None = None
    """Model that the results file must have been made with; None where only its shape matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One number of the tutorial."""

    what: str
    line: str
    """Of the tutorial's file, or several."""
    claimed: str
    figures: tuple[Figure, ...]
    """Those that would answer it, measured or not."""


def _accuracy(when: str) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            label=f"{rule} accuracy",
            benchmark="tutorial_run",
            metric=f"{rule}_{when}_correct_share",
            unit="share",
            model=MODEL,
        )
        for rule in ("strict", "flexible")
    )


CLAIMS: Final = (
    Claim(what="Accuracy before training", line="575", claimed="~24 %", figures=_accuracy("before")),
    Claim(what="Accuracy after 5 steps", line="292", claimed="26.84 %", figures=_accuracy("step_5")),
    Claim(what="Accuracy after 10 steps", line="293", claimed="32.11 %", figures=_accuracy("step_10")),
    Claim(what="Accuracy after 50 steps", line="295, 576", claimed="44.66 %, ~45 %", figures=_accuracy("step_50")),
    Claim(
        what="Training time of 50 steps on 4 × A100",
        line="577",
        claimed="~2–3 h",
        figures=(
            Figure(label="50 steps", benchmark="tutorial_run", metric="step_50_hours", unit="hours", model=MODEL),
        ),
    ),
    Claim(
        what="New weights of a 0.5B model into every engine",
        line="374",
        claimed="~1.9 s",
        figures=(
            Figure(
                label="end to end, median",
                benchmark="weight_sync",
                metric="same_gpu_0.5b_end_to_end_p50_seconds",
                unit="seconds",
            ),
            Figure(
                label="end to end, p99",
                benchmark="weight_sync",
                metric="same_gpu_0.5b_end_to_end_p99_seconds",
                unit="seconds",
            ),
            Figure(
                label="the engine stands still, median",
                benchmark="weight_sync",
                metric="same_gpu_0.5b_pause_p50_seconds",
                unit="seconds",
            ),
        ),
    ),
)
"""Line numbers are of TUTORIAL_SGLANG.md, SkyRL's end-to-end tutorial with SGLang."""

NEAR: Final = (
    ("A step of the tutorial's batch, random weights of the 0.5B shape, median of three", "tutorial_step_p50_seconds"),
    ("… the first step", "tutorial_first_step_seconds"),
    (
        "Steps of GSM8K, 64 prompts × 8 samples × 256 tokens, SmolLM2-135M unless the command says",
        "gsm8k_trained_steps",
    ),
    ("… median seconds of a step", "gsm8k_step_p50_seconds"),
    ("… strict accuracy before", "gsm8k_strict_before_correct_share"),
    ("… strict accuracy after", "gsm8k_strict_after_correct_share"),
    ("… flexible accuracy before", "gsm8k_flexible_before_correct_share"),
    ("… flexible accuracy after", "gsm8k_flexible_after_correct_share"),
)
"""What was measured of `gsm8k_loop`, that answers no claim."""

HEAD: Final = """# Claimed and measured

<!-- Made by tools/make_claims_reference.py from benchmarks/results; do not edit. -->

Each number of SkyRL's tutorial with SGLang (`TUTORIAL_SGLANG.md`), by its line, beside ours. A cell is empty where
nothing was measured; nothing here is computed from other figures or guessed. *Strict* accuracy counts the number after
`####` alone, as SkyRL's reward does; *flexible* counts a boxed or the last number as well. Where strict rises and
flexible does not, a model learns the format and not arithmetic, so that the two stand apart.

The tutorial's "~7,500" and "~1,300" problems (lines 79 and 80) are 7,473 and 1,319; a test counts them.

`python benchmarks/tutorial_run.py RUN_DIR` writes what a run of the tutorial's file has learned; `make docs` then fills
the cells. What all figures mean, and what they do not: [benchmarks](../../benchmarks/README.md).
"""


def main() -> int:
    """Write the page, or return 1 if it would change."""
    return publish("claimed-and-measured.md", render(read(RESULTS)), maker="tools/make_claims_reference.py")


def read(folder: Path) -> list[Result]:
    """Every results file, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def render(results: Sequence[Result]) -> str:
    """The page."""
    columns = ("claim", "line", "claimed", "figure", "measured", "hardware", "seed", "commit", "command")
    claims = table(columns, (row for claim in CLAIMS for row in rows_of(claim, results)))
    near = table(("figure", "measured", "hardware", "commit", "command"), near_rows(results))
    about = (
        "## Measured, and no answer\n\nAnother model, random weights or few steps: these say what the machine does "
        "and nothing about the tutorial's accuracy."
    )
    return "\n".join(part.rstrip() + "\n" for part in (HEAD, claims, about, near))


def rows_of(claim: Claim, results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """One row for each figure and machine that measured it, or an empty one."""
    what, line, claimed = claim.what, claim.line, claim.claimed
    for figure in claim.figures:
        found = [result for result in results if answers(result, figure)]
        for result in found:
            value = shown(result["metrics"][figure.metric], figure.unit)
            seed = str(result.get("setting", {}).get("seed", ""))
            yield what, line, claimed, figure.label, value, result["hardware"]["slug"], seed, *source_of(result)
        if not found:
            yield what, line, claimed, figure.label, "", "", "", "", ""
        what, line, claimed = "", "", ""


def answers(result: Result, figure: Figure) -> bool:
    """Tell whether a results file measured a figure with the model that is meant."""
    is_model = figure.model is None or result.get("setting", {}).get("model") == figure.model
    return result["name"] == figure.benchmark and figure.metric in result["metrics"] and is_model


def near_rows(results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """Figures of the whole loop that are measured."""
    for result in results:
        if result["name"] == "gsm8k_loop":
            for label, metric in NEAR:
                if metric in result["metrics"]:
                    unit = "share" if metric.endswith("share") else "seconds" if metric.endswith("seconds") else ""
                    yield label, shown(result["metrics"][metric], unit), result["hardware"]["slug"], *source_of(result)


def source_of(result: Result) -> tuple[str, str]:
    """Commit and command of a results file."""
    commit = result["commit"]
    short = commit[:10] + ("-dirty" if commit.endswith("-dirty") else "")
    return f"`{short}`", f"`{result['command']}`"


def shown(value: float, unit: str) -> str:
    """A figure with its unit.

    >>> shown(0.0727, "seconds"), shown(0.4466, "share"), shown(69.42, "seconds"), shown(18, "")
    ('73 ms', '44.7 %', '69.4 s', '18')
    """
    match unit:
        case "share":
            return f"{value * 100:.1f} %"
        case "seconds":
            return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
        case "hours":
            return f"{value:.2f} h"
        case _:
            return f"{value:g}"


if __name__ == "__main__":
    sys.exit(main())
