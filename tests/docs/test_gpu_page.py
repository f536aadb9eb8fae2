"""The page on GPUs: its command is accepted with the tutorial's file, and its tables are what engines are told."""

import re
import shlex
from pathlib import Path

from tetrad_config import load
from tetrad_config.generator import Backend
from tetrad_config.server_arguments import OURS
from tetrad_rollout.engine.sglang.arguments import server_arguments
from tetrad_rollout.engine_settings import engine_settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "run-on-a-gpu.md").read_text(encoding="utf-8")
RUN_FILE = ROOT / "tests" / "unit" / "config" / "data" / "my_training_config.yaml"
HOPPER = (9, 0)


def loaded(*more):
    (command,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    words = shlex.split(command.replace("\\\n", ""))
    assert words[2:6] == ["--config-path", ".", "--config-name", RUN_FILE.stem]
    environ = {"HOME": "/home/somebody"}
    return load([*words[6:], *more], config_path=RUN_FILE.parent, config_name=RUN_FILE.stem, environ=environ).config


def test_the_command_of_the_page_is_accepted_and_shares_one_gpu():
    config = loaded()

    assert config.generator.backend is Backend.SGLANG
    assert config.trainer.placement.colocate_all
    assert config.trainer.placement.num_ranks == config.generator.num_inference_engines == 1


def test_every_argument_in_the_table_of_knobs_is_one_that_the_server_is_started_with():
    rows = re.findall(r"^\| `(?:generator|trainer)\.\S+` \| (.+?) \|", PAGE.split("## Attention")[0], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"NAME"}

    config = loaded("trainer.policy.model.lora.rank=16")
    settings = engine_settings(config, model=Path("model"), is_colocated=True)
    arguments, _why = server_arguments(settings, known=settings.server.extra, capability=HOPPER)

    assert len(named) > 10
    assert named <= arguments.keys()


def test_the_page_names_every_argument_that_may_not_be_set():
    (sentence,) = re.findall(r"^(`model_path`.+?) may not be set", PAGE, re.MULTILINE | re.DOTALL)

    assert set(re.findall(r"`(\w+)`", sentence)) == OURS
