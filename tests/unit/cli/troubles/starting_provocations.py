"""What brings each trouble of a start about, for real: the text that a user reads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from unit.rollout.engine_builders import a_tokenizer

from tetrad_cli.fresh_start import begin
from tetrad_cli.prepared import prepare
from tetrad_cli.run_options import RunOptions
from tetrad_config import MachineFacts, check_machine, load, plan
from tetrad_reward.registry import load_grader
from tetrad_rollout.engine.sglang.arguments import check_extra
from tetrad_rollout.engine.sglang.start_report import started
from tetrad_rollout.rendering import Renderer
from tetrad_trajectories.checkpoint import write_manifest
from tetrad_trajectories.dataset import Dataset

Provocation = Callable[[Path], str]
DEMO: Final = "+experiment=demo"
WARM_START: Final = Path(load([DEMO], environ={}).config.trainer.policy.model.path)


def refused(*overrides: str, environ: dict[str, str] | None = None) -> str:
    """What `tetrad train` says before anything starts."""
    options = RunOptions(config_path=None, config_name=None, overrides=(DEMO, *overrides))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - ConfigError or ConfigFault, as the trouble has it
        prepare(options, environ=environ or {})
    return str(caught.value)


def on_a_machine(*overrides: str, gpus: int = 2, **facts: object) -> str:
    """The same on a machine with GPUs, which has them only on paper."""
    loaded = load(["generator.backend=sglang", *overrides], environ={})
    machine = MachineFacts(
        **{
            "num_cores": 2,
            "gpus": ("NVIDIA B200",) * gpus,
            "has_sglang": True,
            "is_offline": False,
            "absent": frozenset(),
            **facts,
        }
    )
    return "\n".join(str(refusal) for refusal in check_machine(loaded.config, machine, origins=loaded.origins))


def too_few_rows(_tmp: Path) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared by the catalogue
        plan(load([DEMO], environ={}).config, 3)
    return str(caught.value)


def attention_backend(_tmp: Path) -> str:
    backend = "+generator.engine_init_kwargs.attention_backend=fa3"
    return on_a_machine(backend, capabilities=((10, 0),))


def copy_of_model(folder: Path) -> Path:
    return Path(shutil.copytree(WARM_START, folder, symlinks=False))


def no_chat_template(tmp: Path) -> str:
    model = copy_of_model(tmp / "model")
    (model / "chat_template.jinja").unlink()
    return refused(f"trainer.policy.model.path={model}")


def a_run_in(tmp: Path) -> Path:
    run_dir = tmp / "run"
    run_dir.mkdir()
    (run_dir / "ledger.sqlite").touch()
    return run_dir


def begun(run_dir: Path, *overrides: str) -> str:
    config = load([DEMO, f"trainer.run_dir={run_dir}", "trainer.overwrite=false", *overrides], environ={}).config
    with pytest.raises(Exception) as caught:  # noqa: PT011 - compared by the catalogue
        begin(config, run_dir)
    return str(caught.value)


def learnt_otherwise(tmp: Path) -> str:
    from tetrad_config import dump_resolved

    run_dir = a_run_in(tmp)
    earlier = load([DEMO, f"trainer.run_dir={run_dir}", "trainer.seed=1"], environ={}).config
    (run_dir / "config.yaml").write_text(dump_resolved(earlier))
    return begun(run_dir, "trainer.seed=2", "trainer.resume_mode=latest")


def checkpoint_of_another_model(tmp: Path) -> str:
    checkpoint = copy_of_model(tmp / "global_step_3")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 99}))
    return refused("trainer.resume_mode=from_path", "trainer.overwrite=false", f"trainer.resume_path={checkpoint}")


def checkpoint_damaged(tmp: Path) -> str:
    checkpoint = copy_of_model(tmp / "global_step_3")
    write_manifest(checkpoint, {"step": 3})
    with (checkpoint / "config.json").open("a") as file:
        file.write(" ")
    return refused(f"trainer.policy.model.path={checkpoint}")


def dataset(tmp: Path, row: dict[str, object]) -> str:
    (tmp / "rows.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared by the catalogue
        Dataset.read([tmp / "rows.jsonl"])
    return str(caught.value)


def rendered(template: str) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared by the catalogue
        Renderer(a_tokenizer(chat_template=template), max_prompt_length=9)
    return str(caught.value)


def graded(name: str) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - compared by the catalogue
        load_grader(name, {})
    return str(caught.value)


def engine_argument(_tmp: Path) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared by the catalogue
        check_extra({"atention_backend": "fa3"}, known={"attention_backend"})
    return str(caught.value)


def engine_memory(error: str) -> str:
    """What stands in the log of a replica whose SGLang found too little memory."""

    def start() -> None:
        raise RuntimeError(error)

    with pytest.raises(Exception) as caught:  # noqa: PT011 - compared by the catalogue
        started(start, share=0.2)
    return str(caught.value)


STARTING: Final[dict[str, Provocation]] = {
    "unknown-key": lambda _tmp: refused("trainer.train_batchsize=8"),
    "uneven-batch": lambda _tmp: refused("trainer.policy_mini_batch_size=5"),
    "too-few-rows": too_few_rows,
    "sglang-missing": lambda _tmp: on_a_machine(has_sglang=False),
    "too-few-gpus": lambda _tmp: on_a_machine("trainer.placement.policy_num_gpus_per_node=4", gpus=1),
    "attention-backend": attention_backend,
    "model-missing": lambda tmp: refused(f"trainer.policy.model.path={tmp / 'none'}"),
    "data-missing": lambda tmp: refused(f"data.train_data=[{tmp / 'none.parquet'}]"),
    "no-chat-template": no_chat_template,
    "adapter-target-unknown": lambda _tmp: refused(
        "trainer.policy.model.lora.rank=4", "trainer.policy.model.lora.target_modules=[q_projj]"
    ),
    "run-exists": lambda tmp: begun(a_run_in(tmp), "trainer.resume_mode=none"),
    "learnt-otherwise": learnt_otherwise,
    "checkpoint-of-another-model": checkpoint_of_another_model,
    "checkpoint-damaged": checkpoint_damaged,
    "no-prompt-column": lambda tmp: dataset(tmp, {"question": "1+1", "answer": "2"}),
    "prompt-is-text": lambda tmp: dataset(tmp, {"prompt": "1+1"}),
    "broken-chat-template": lambda _tmp: rendered("{% for message in messages %}"),
    "unknown-environment": lambda _tmp: graded("gsm9k"),
    "unknown-engine-argument": engine_argument,
    "engine-share-too-small": lambda _tmp: engine_memory(
        "Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=0.2. "
        "Raise --mem-fraction-static above 0.214 (minimum viable = 1 - available/pre = 0.2138)."
    ),
    "engine-gpu-full": lambda _tmp: engine_memory("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 is full."),
}
