"""Without a terminal the view prints plain lines, and the result at the end."""

import asyncio
import json

import pytest

from tetrad_cli.live.view import LiveView


def write(run_dir, *steps, name="train/mean_reward"):
    with (run_dir / "metrics.jsonl").open("a") as file:
        for step in steps:
            file.write(json.dumps({"step": step, "time": 1.0, "metrics": {name: 0.5}}) + "\n")


async def shown(show, run_dir, *steps):
    is_over = asyncio.Event()
    task = asyncio.create_task(show(is_over))
    write(run_dir, *steps)
    is_over.set()
    async with asyncio.timeout(5):
        await task


async def test_every_step_is_printed_by_train(tmp_path, capsys):
    view = LiveView(tmp_path, title="demo", steps=3)

    await shown(view.print_steps, tmp_path, 1, 2)

    assert capsys.readouterr().out == "Step 1: train/mean_reward=0.5\nStep 2: train/mean_reward=0.5\n"


async def test_every_tenth_step_is_printed_by_the_live_view_without_a_terminal(tmp_path, capsys):
    view = LiveView(tmp_path, title="demo", steps=30)

    await shown(view.show, tmp_path, *range(1, 25))

    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["Step 10", "Step 20"]


async def test_an_evaluation_is_printed_whatever_its_step(tmp_path, capsys):
    view = LiveView(tmp_path, title="demo", steps=30)
    write(tmp_path, 3, name="eval/all/pass_at_1")

    await shown(view.show, tmp_path)

    assert capsys.readouterr().out == "Step 3: eval/all/pass_at_1=0.5\n"


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_summary_is_no_result(tmp_path, capsys, text):
    view = LiveView(tmp_path, title="demo", steps=None)
    (tmp_path / "summary.json").write_text(text)

    view.print_result()

    assert capsys.readouterr().out == ""


def test_the_summary_of_this_run_is_its_result(tmp_path, capsys):
    view = LiveView(tmp_path, title="demo", steps=None)
    (tmp_path / "summary.json").write_text('{"steps": 120, "seconds": 98}')

    view.print_result()

    assert capsys.readouterr().out == "demo: 120 steps · 98 s\n"


def test_the_summary_of_an_earlier_run_is_not(tmp_path, capsys):
    (tmp_path / "summary.json").write_text('{"steps": 120}')
    view = LiveView(tmp_path, title="demo", steps=None)
    view._began += 10

    view.print_result()

    assert capsys.readouterr().out == ""
