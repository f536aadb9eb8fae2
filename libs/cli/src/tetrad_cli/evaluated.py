"""What `tetrad eval` evaluates and how: a checkpoint or a model, and the overrides that make a run of it.

Pure but for a look at the checkpoint's manifest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_cli.aside import assigned, moved_to
from tetrad_cli.run_options import RunOptions
from tetrad_config import is_resolved
from tetrad_runtime.exits import ConfigFault
from tetrad_trajectories.checkpoint import read_manifest
from tetrad_trajectories.errors import CheckpointError

RUN_FILE: Final = "config.yaml"

DECIDED: Final[Mapping[str, str]] = {
    "trainer.policy.model.path": "name it with --model or --checkpoint",
    "generator.model_name": "name it with --model or --checkpoint",
    "trainer.epochs": "nothing is trained",
    "trainer.eval_before_train": "that is all it does",
    "trainer.run_name": "it runs in a temporary folder",
    "trainer.run_dir": "it runs in a temporary folder",
    "trainer.ckpt_path": "no checkpoint is written",
    "trainer.overwrite": "it runs in a temporary folder",
    "trainer.logger": "its scores are printed; --output writes them to a file",
    "trainer.dump_eval_results": "--dump says whether and where",
    "trainer.export_path": "--dump says whether and where",
}
"""Keys that are not the user's here, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is evaluated."""

    model: str
    """Folder, absolute, or a name on the Hugging Face Hub."""
    step: int | None = None
    """Training step of a checkpoint."""
    run_dir: Path | None = None
    """Folder of the run that wrote it, where its run file is there."""


def checkpoint(folder: Path) -> Subject:
    """Return a checkpoint; raises ConfigFault where it is none. A link such as `latest` is followed."""
    folder = folder.resolve()
    try:
        manifest = read_manifest(folder)
    except CheckpointError as error:
        raise ConfigFault(f"--checkpoint: {error}; name a folder …/global_step_N, or a model with --model") from error
    run_dir = folder.parent.parent
    return Subject(
        model=str(folder),
        step=int(str(manifest["step"])) if "step" in manifest else None,
        run_dir=run_dir if is_resolved(run_dir / RUN_FILE) else None,
    )


def model(name: str) -> Subject:
    """Return a model by folder or by its name on the Hub."""
    return Subject(model=str(Path(name).resolve()) if Path(name).is_dir() else name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user says besides the run's settings."""

    data: Sequence[str] = ()
    """Files of prompts; none leaves them to the run's settings."""
    num_samples: int | None = None
    """Samples of each prompt; None leaves them to the run's settings."""
    dump: Path | None = None
    """Where the answers are written; None writes none."""


def evaluation_of(subject: Subject, wishes: Wishes, options: RunOptions, *, folder: Path) -> RunOptions:
    """Return the options of the run that evaluates: the settings of the checkpoint's own run unless others are named.

    Raises ConfigFault for a key that is not the user's here.
    """
    refuse_decided(options.overrides)
    if options.config_name is None and options.config_path is None and subject.run_dir is not None:
        options = RunOptions(
            config_path=str(subject.run_dir), config_name=RUN_FILE, overrides=options.overrides, skip_step=None
        )
    return options.with_overrides(
        assigned("trainer.policy.model.path", subject.model),
        "generator.model_name=null",
        "trainer.epochs=0",
        "trainer.eval_before_train=true",
        "trainer.run_name=eval",
        "trainer.overwrite=false",
        "trainer.logger=[]",
        f"trainer.dump_eval_results={'false' if wishes.dump is None else 'true'}",
        *moved_to(folder, dump=None if wishes.dump is None else wishes.dump.resolve()),
        *([f"data.val_data=[{', '.join(map(_quoted, wishes.data))}]"] if wishes.data else ()),
        *([f"generator.eval_n_samples_per_prompt={wishes.num_samples}"] if wishes.num_samples is not None else ()),
    )


def refuse_decided(overrides: Sequence[str]) -> None:
    """Raise ConfigFault for an override of what `tetrad eval` decides itself: it would have no effect."""
    for word in overrides:
        key = word.lstrip("+~").partition("=")[0]
        if key in DECIDED:
            raise ConfigFault(f"{key} is not yours to set in `tetrad eval`: {DECIDED[key]}")


def _quoted(path: str) -> str:
    return assigned("", path).removeprefix("=")
