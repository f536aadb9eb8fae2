"""Whether a checkpoint is one of the model that a run file names. Reads two `config.json`; loads no weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tetrad_config import RunConfig
from tetrad_config.trainer import ResumeMode
from tetrad_runtime.exits import ConfigFault

DECIDING: Final = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "tie_word_embeddings",
)
"""What gives the tensors their names and shapes."""


def refuse_other_architecture(config: RunConfig) -> None:
    """Raise ConfigFault where the checkpoint to go on from has other tensors than the model; silent without both."""
    checkpoint = config.trainer.resume_path
    if config.trainer.resume_mode is not ResumeMode.FROM_PATH or checkpoint is None or config.trainer.epochs == 0:
        return
    ours, theirs = _read(Path(config.trainer.policy.model.path)), _read(Path(checkpoint))
    if ours is None or theirs is None:
        return
    differing = [
        f"{name} {theirs[name]} and not {ours[name]}"
        for name in DECIDING
        if name in ours and name in theirs and ours[name] != theirs[name]
    ]
    if differing:
        raise ConfigFault(
            f"trainer.resume_path: {checkpoint} is a checkpoint of another model than trainer.policy.model.path="
            f"{config.trainer.policy.model.path}: it has {', '.join(differing)}; name the model that its run began with"
        )


def _read(folder: Path) -> Mapping[str, object] | None:
    try:
        found = json.loads((folder.expanduser() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
