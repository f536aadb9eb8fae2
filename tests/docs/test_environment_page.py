"""The page on environments shows the example's code, and its commands are accepted."""

import ast
import json
import re
import shlex
from pathlib import Path

from tetrad_config import load
from tetrad_reward.registry import load_grader

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "write-an-environment.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "examples" / "custom-environment" / "second_try.py").read_text(encoding="utf-8")


def without_words(source):
    """The code alone: no docstrings, no comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            del body[0]
    return ast.dump(tree)


def commands():
    lines = "".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", "").splitlines()
    return [shlex.split(line) for line in lines]


def test_the_page_shows_the_example():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    assert without_words(code) == without_words(EXAMPLE)


def test_its_line_is_graded_by_the_environment_that_it_names():
    (echo,) = [words for words in commands() if words[0] == "echo"]
    row, reference = json.loads(echo[1]), echo[echo.index("--env") + 1]
    assert reference == "second_try.py:SecondTry"

    grader = load_grader(str(ROOT / "examples" / "custom-environment" / reference), {})
    result = grader.make({"reward_spec": {"ground_truth": row["ground_truth"]}}).step(row["response"])

    assert (result["reward"], result["done"]) == (1.0, True)


def test_its_run_has_the_turns_and_settings_that_the_page_explains():
    (words,) = [words[2:] for words in commands() if words[:2] == ["tetrad", "train"]]
    place = words.index("--reward")
    reward, overrides = words[place + 1], words[:place] + words[place + 2 :]

    config = load([*overrides, f"reward.implementation={reward}"], environ={}).config

    assert config.environment.env_config == {"second_reward": 0.5}
    for key in ("generator.max_turns=2", "generator.max_input_length=32"):
        assert key in overrides
        assert f"`{key}`" in PAGE
