"""The page on trained models names options that there are, and messages that are said."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from tetrad_rollout.infer import loading, model_choice, speaker
from tetrad_rollout.infer.command import main

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "use-the-trained-model.md").read_text(encoding="utf-8")
INFER = PAGE.split("## In Python", maxsplit=1)[0]


@pytest.fixture
def known(capsys):
    """The options of the command, from its help."""
    with pytest.raises(SystemExit):
        main(["--help"])
    return set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))


def test_every_option_of_the_page_is_one(known):
    named = set(re.findall(r"--[a-z][a-z-]+", INFER)) - {"--env"}  # of `tetrad grade`

    assert {"--model", "--prompt", "--json"} <= named <= known


def test_every_option_is_on_the_page_or_explains_itself(known):
    assert known - set(re.findall(r"--[a-z][a-z-]+", INFER)) == {"--help", "--top-k", "--max-num-seqs"}


def test_the_commands_are_whole():
    lines = "".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", "").splitlines()

    assert all(shlex.split(line) for line in lines)
    assert any(line.startswith("tetrad infer --model ~/ckpts/global_step_50") for line in lines)


def test_the_python_of_the_page_compiles_and_avoids_what_it_warns_of():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    ast.parse(code)
    for good, often in re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", PAGE.split("## In Python")[1], re.MULTILINE):
        assert good in code
        assert f"({often}," not in code


def test_what_the_page_quotes_is_said():
    sources = " ".join(Path(str(module.__file__)).read_text() for module in (model_choice, loading, speaker))
    spoken = " ".join(re.sub(r'"\s*f?"', "", sources).split())

    quoted = re.findall(r"^\| `([^`]+)` \| [a-z`]", INFER.split("| it says |")[1].split("| exit code")[0], re.MULTILINE)
    assert len(quoted) == 4
    for text in quoted:
        for part in re.split(r"…/global_step_40\?|; | SafetensorError", text):
            assert part.replace("config.json", "{MODEL_CONFIG}").strip() in spoken, part
