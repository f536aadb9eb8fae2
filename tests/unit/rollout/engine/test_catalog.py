"""Engines by name, imported late."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from unit.rollout.engine_builders import a_llama, a_request

from tetrad_rollout.engine import EngineSettings, create_engine
from tetrad_rollout.engine.errors import InvalidRequestError, UnknownEngineError


@pytest.mark.parametrize("name", ["transformer", "transfromers"])
def test_an_unknown_engine_is_refused_with_a_suggestion(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownEngineError, match=f"'{name}'; there are .*; did you mean 'transformers'"):
        create_engine(name, EngineSettings(model_path=tmp_path))


def test_naming_engines_and_running_the_fake_imports_no_torch() -> None:
    program = (
        "import sys, pathlib\n"
        "from tetrad_rollout import engine, rendering\n"
        "engine.create_engine('fake', engine.EngineSettings(model_path=pathlib.Path('.')))\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])\n"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert answer.stdout.strip() == "[]"


async def test_a_model_without_a_tokenizer_serves_and_refuses_stop_strings(tmp_path: Path) -> None:
    a_llama().save_pretrained(tmp_path)
    engine = create_engine("transformers", EngineSettings(model_path=tmp_path))

    assert len(await engine.generate(a_request())) == 2
    with pytest.raises(InvalidRequestError, match="need a tokenizer"):
        await engine.generate(a_request(stop_strings=("x",)))
    await engine.close()
