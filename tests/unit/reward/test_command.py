"""`tetrad grade` as a user runs it: a process, standard input, standard output."""

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from tetrad_reward.command import command

GRADERS = Path(__file__).with_name("graders.py")
RUN = "import sys; from tetrad_reward.command import command; sys.exit(command(sys.argv[1:]))"


def grade(*arguments, rows):
    text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments, "--workers", "1"],
        input=text.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def test_rows_come_back_in_order_with_their_grades_and_their_other_fields():
    rows = [{"response": f"#### {n % 3}", "ground_truth": "1", "id": n} for n in range(600)]

    code, graded, _ = grade("--env", "gsm8k", "--mode", "flexible", rows=rows)

    assert code == 0
    assert [row["id"] for row in graded] == list(range(600))
    assert [row["reward"] for row in graded] == [float(n % 3 == 1) for n in range(600)]
    assert {row["outcome"] for row in graded} == {"ok"}
    assert graded[2]["extracted"] == "2"
    assert graded[2]["rule"] == "hash"


def test_a_bad_row_is_named_and_what_came_before_it_is_written():
    rows = [{"response": "#### 1", "ground_truth": "1"}, "\n", "{not json\n", {"response": "x", "ground_truth": "1"}]

    code, graded, complaint = grade("--env", "gsm8k", rows=rows)

    assert code == 65
    assert [row["reward"] for row in graded] == [1.0]
    assert "line 3" in complaint


def test_a_row_without_a_reward_says_why_and_the_others_go_on():
    rows = [{"response": action, "ground_truth": None} for action in ("fine", "exit", "nan", "loop", "fine")]

    code, graded, summary = grade("--reward", f"{GRADERS}:hostile", "--timeout", "0.5", rows=rows)

    assert code == 0
    assert [row["outcome"] for row in graded] == ["ok", "crashed", "crashed", "timeout", "ok"]
    assert [row["reward"] for row in graded] == [1.0, None, None, None, 1.0]
    assert "exit code 3" in graded[1]["reason"]
    assert "3 without a reward" in summary


def test_text_of_any_kind_passes_through():
    row = {"response": "é\U0001f600\ud800", "ground_truth": "ü", "note": "\u2028"}

    _, graded, _ = grade("--env", "arithmetic", rows=[row])

    assert {key: graded[0][key] for key in row} == row
    assert graded[0]["outcome"] == "refused"  # half a surrogate pair is no text


def test_an_unknown_environment_is_refused_with_a_suggestion():
    code, graded, complaint = grade("--env", "gsm9k", rows=[])

    assert (code, graded) == (78, [])
    assert "did you mean 'gsm8k'" in complaint


def test_help_and_wrong_flags_return_a_code(capsys):
    assert command(["--help"]) == 0
    assert command(["--env", "gsm8k", "--mode", "loose"]) == 78
    capsys.readouterr()


def test_the_command_is_registered():
    (point,) = entry_points(group="tetrad.commands", name="grade")

    assert point.load() is command
