"""The parser: exit codes, and no heavy import before work begins."""

import subprocess
import sys

import pytest

from tetrad_cli.data import command


@pytest.mark.parametrize("argv", [["--help"], ["gsm8k", "--help"], ["smollm2", "--help"], ["inspect", "--help"]])
def test_help_ends_well(argv, capsys):
    assert command(argv) == 0
    assert "usage: tetrad data" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "COMMAND"),
        (["gsm9k"], "invalid choice: 'gsm9k'"),
        (["gsm8k"], "--output-dir"),
        (["gsm8k", "--output-dir", "d", "--answer-format", "roman"], "invalid choice: 'roman'"),
        (["gsm8k", "--output-dir", "d", "--max-train-rows", "0"], "0 is below 1"),
        (["arithmetic", "--output-dir", "d", "--digits", "99"], "--digits is 99"),
        (["inspect", "absent.parquet", "--model", "m"], "absent.parquet does not exist"),
        (["smollm2", "--output-dir", "d", "--gguf", "absent.gguf"], "--gguf absent.gguf does not exist"),
    ],
)
def test_a_bad_call_is_answered_with_two_and_a_reason(argv, complaint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert command(argv) == 2

    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from tetrad_cli.data import command; command(['--help']);"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'huggingface_hub') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
