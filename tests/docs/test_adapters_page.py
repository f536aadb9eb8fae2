"""The page on adapters: its command is accepted, and its table has every key."""

import re
import shlex
from pathlib import Path

from tetrad_config import load
from tetrad_config.models import Lora

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "train-adapters.md").read_text(encoding="utf-8")


def test_the_command_of_the_page_is_accepted_and_trains_adapters():
    (command,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)

    loaded = load(shlex.split(command.replace("\\\n", ""))[2:], environ={})

    assert loaded.config.trainer.policy.model.lora.rank > 0
    assert not [notice for notice in loaded.notices if "no effect" in notice]


def test_the_table_has_every_key_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE, re.MULTILINE))

    assert rows.keys() == Lora.model_fields.keys()
    assert rows["rank"] == f"`{Lora().rank}`"
    assert rows["alpha"] == f"`{Lora().alpha:g}`"
    assert rows["init_method"] == f"`{Lora().init_method}`"
