"""Which model is meant: a checkpoint, a model, adapters on their own, or a name on the Hub; or what it is instead.

Looks at files only and loads nothing, so that a wrong name is answered at once, with the right one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from tetrad_rollout.checking import MODEL_CONFIG
from tetrad_rollout.model_folder import snapshot
from tetrad_runtime.exits import ConfigFault

ADAPTER_CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = ("*.safetensors", "*.bin")
CHECKPOINTS: Final = "checkpoints"
# What transformers calls a class that continues a text.
GENERATIVE: Final = ("CausalLM", "LMHeadModel", "ConditionalGeneration")
# Names of an error; a folder may hold hundreds.
_SHOWN: Final = 8
_HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_STEP: Final = re.compile(r"global_step_(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A causal language model on this machine."""

    folder: Path
    """Model and tokenizer."""
    adapter: Path | None = None
    """Adapters in peft's format that are merged into it."""


def find_model(name: str) -> ModelFolder:
    """Return the model of that name; fetches one from the Hub where the name is no path.

    Raises ConfigFault that says what is there instead, and what to name.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        raise ConfigFault(f"--model {path} is a file; name its folder {path.parent}")
    return ModelFolder(folder=_checked(_from_hub(name) if _is_hub_name(name, path) else _no_folder(path)))


def _in_folder(path: Path) -> ModelFolder:
    if (path / MODEL_CONFIG).is_file():
        return ModelFolder(folder=_checked(path))
    if (path / ADAPTER_CONFIG).is_file():
        return ModelFolder(folder=_base_of(path), adapter=path)
    raise ConfigFault(f"--model {path} is no model: it has no {MODEL_CONFIG}; {_instead_of(path)}")


def _checked(folder: Path) -> Path:
    if not any(file for pattern in WEIGHTS for file in folder.glob(pattern)):
        raise ConfigFault(f"--model {folder} has no weights ({', '.join(WEIGHTS)}); copy the folder whole")
    architectures = _json_of(folder / MODEL_CONFIG).get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if names and not any(name.endswith(GENERATIVE) for name in names):
        raise ConfigFault(f"--model {folder} is a {', '.join(names)}; only causal language models generate text")
    return folder


def _base_of(adapter: Path) -> Path:
    """The model that adapters belong to."""
    base = str(_json_of(adapter / ADAPTER_CONFIG).get("base_model_name_or_path") or "")
    path = Path(base).expanduser()
    if base and path.is_dir():
        return _checked(path)
    if _is_hub_name(base, path):
        return _checked(_from_hub(base))
    merged = adapter.resolve().parent
    fix = f"name {merged}, where they are merged" if (merged / MODEL_CONFIG).is_file() else "put it back"
    raise ConfigFault(
        f"--model {adapter}: the adapters belong to {base or 'no named model'}, which is not there; {fix}, or set "
        f"base_model_name_or_path in {ADAPTER_CONFIG}"
    )


def _json_of(path: Path) -> Mapping[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigFault(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ConfigFault(f"{path} holds a {type(value).__name__}, where an object is expected; copy the folder anew")
    return value


def _instead_of(path: Path) -> str:
    """What to name in place of a folder that is no model."""
    for folder in (path, path / CHECKPOINTS):
        if (newest := _newest(folder)) is not None:
            return f"it holds checkpoints: name one, such as {newest}"
    if (path.resolve().parent / MODEL_CONFIG).is_file():
        return f"it is a part of one: name {path.resolve().parent}"
    return "name a Hugging Face folder, such as a checkpoint …/global_step_50"


def _newest(folder: Path) -> Path | None:
    steps = {int(found[1]): path for path in _folders_in(folder) if (found := _STEP.fullmatch(path.name))}
    return steps[max(steps)] if steps else None


def _folders_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_dir()) if folder.is_dir() else iter(())


def _is_hub_name(name: str, path: Path) -> bool:
    """Whether a name is the Hub's rather than a path with a typo in it."""
    is_near = path.parent.is_dir() and bool(list(_folders_in(path.parent)))
    return bool(_HUB_NAME.fullmatch(name)) and not is_near and not _STEP.fullmatch(path.name)


def _no_folder(path: Path) -> Path:
    names = [other.name for other in _folders_in(path.parent)]
    if near := get_close_matches(path.name, names, n=1):
        hint = f"did you mean {path.parent / near[0]}?"
    else:
        shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        hint = f"{path.parent} holds {shown or 'no folders'}"
    raise ConfigFault(f"--model {path}: there is no such folder; {hint}")


def _from_hub(name: str) -> Path:
    try:
        return snapshot(name, is_fetched=True)
    except LookupError as error:
        raise ConfigFault(
            f"--model {name} is no folder here, and the Hub does not give it ({error}); name a local folder, or set "
            "HF_TOKEN for a model that needs it"
        ) from error
