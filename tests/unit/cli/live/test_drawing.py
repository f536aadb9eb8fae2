"""The panel and the curve show what there is, and say so when there is nothing."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tetrad_cli.live.panel import draw
from tetrad_cli.live.progress import Progress
from tetrad_cli.live.record import Record
from tetrad_cli.live.sparkline import BLOCKS, sparkline
from tetrad_cli.live.summary import one_line


def drawn(progress):
    console = Console(file=io.StringIO(), width=110)
    console.print(draw(progress, title="demo"))
    return console.file.getvalue()


def test_before_the_first_step_it_says_that_it_starts():
    assert "starting; the first step has not ended yet" in drawn(Progress(total_steps=120))


def test_progress_reward_speed_and_time_are_shown():
    progress = Progress(total_steps=120)
    metrics = {
        "train/mean_reward": 0.5,
        "trainer/tokens_per_second": 4321.0,
        "timing/train": 3.0,
        "timing/generate": 1.0,
    }
    progress.add(Record(step=60, time_s=30.0, metrics={**metrics, "eval/all/pass_at_1": 0.28}))

    text = drawn(progress)

    for part in ("step 60/120", "0:30, 0:30 left", "0.500", "0.280 (step 60)", "4,321 tokens/s", "train 75%"):
        assert part in text


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=200), st.integers(1, 80))
def test_a_curve_is_never_wider_than_asked_and_survives_any_number(values, width):
    curve = sparkline(values, width=width)

    assert len(curve) <= width
    assert set(curve) <= set(BLOCKS)


def test_a_rising_curve_rises():
    assert sparkline([n / 99 for n in range(100)], width=8) == BLOCKS


def test_the_result_is_one_line_of_what_is_known():
    summary = {"accuracy_before": 0.281, "accuracy_after": 0.9123, "greedy_before": None, "seconds": 98.3, "steps": 120}

    assert one_line(summary) == "accuracy 0.281 → 0.912 · 120 steps · 98.3 s"
