"""`tetrad infer` on a GPU says what it says on a CPU, and takes the GPU by itself."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from unit.rollout.engine_builders import a_model_folder

from tetrad_rollout.infer.command import main

PROMPTS = ("--prompt", "what is it?", "--prompt", "sing", "--prompt", "a longer one, so that rows are padded")


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    model = a_model_folder(tmp_path / "model")
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def run(*words: str) -> tuple[str, str]:
        assert main(["--model", str(model), *PROMPTS, "--max-tokens", "16", *words]) == 0
        answer = capsys.readouterr()
        return answer.out, answer.err

    return run


def test_it_says_the_same_in_float32(said) -> None:
    on_cpu, _ = said("--device", "cpu")

    on_gpu, summary = said("--device", "cuda", "--dtype", "float32")

    assert on_gpu == on_cpu
    assert " on cuda" in summary


def test_it_takes_the_gpu_in_bfloat16_and_a_seed_gives_the_same_again(said) -> None:
    words = ("--temperature", "1", "--seed", "3")

    (first, summary), (again, _) = said(*words), said(*words)

    assert first == again
    assert " on cuda" in summary
