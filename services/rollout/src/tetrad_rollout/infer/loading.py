"""Loads a model for `tetrad infer`: weights, adapters and tokenizer, and where they are computed."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tetrad_rollout.infer.model_choice import ModelFolder
from tetrad_rollout.infer.questions import INSTALL
from tetrad_rollout.rendering import RenderingError, Tokenizer, load_tokenizer
from tetrad_runtime.exits import ConfigFault, Fault, MachineFault

if TYPE_CHECKING:
    from tetrad_rollout.engine.transformers import TransformersRunner

AUTO: Final = "auto"
CPU: Final = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a model computes, and in which numbers."""

    device: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready to answer."""

    runner: "TransformersRunner"
    tokenizer: Tokenizer
    place: Place


def load(found: ModelFolder, *, device: str, dtype: str) -> Loaded:
    """Load weights and tokenizer.

    Raises ConfigFault for what is no model that this engine runs, MachineFault for one that finds no memory.
    """
    try:
        tokenizer = load_tokenizer(found.folder)
    except RenderingError as error:
        raise ConfigFault(f"--model {error}") from error
    place = _place(device, dtype)
    return Loaded(_runner(found, place), tokenizer, place)


def _place(device: str, dtype: str) -> Place:
    import torch

    has_gpu = torch.cuda.is_available()
    device = ("cuda" if has_gpu else CPU) if device == AUTO else device
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ConfigFault(f"--device {device} is none that torch knows; use cpu, cuda or cuda:1") from error
    if kind == "cuda" and not has_gpu:
        raise ConfigFault(f"--device {device}: torch sees no GPU; leave it out, or use --device {CPU}")
    # bfloat16 is several times slower than float32 on CPUs without matrix units.
    return Place(device=device, dtype=("float32" if kind == CPU else "bfloat16") if dtype == AUTO else dtype)


def _runner(found: ModelFolder, place: Place) -> "TransformersRunner":
    import torch
    from transformers.utils.logging import disable_progress_bar

    from tetrad_rollout.engine.transformers import TransformersRunner, load_model

    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' own
    try:
        model: Any = load_model(found.folder, device=place.device, dtype=place.dtype)
        if found.adapter is not None:
            model = _merged(model, found.adapter)
        # What torch would take: the cores, or OMP_NUM_THREADS.
        return TransformersRunner(model, num_threads=torch.get_num_threads())
    except Fault:
        raise
    except (torch.cuda.OutOfMemoryError, MemoryError) as error:
        raise MachineFault(
            f"{found.folder} does not fit the memory of {place.device} in {place.dtype}; use --device {CPU}, another "
            f"GPU, or --dtype bfloat16 ({error})"
        ) from error
    except Exception as error:  # transformers is foreign code, and a broken folder breaks it in any way
        raise ConfigFault(f"--model {found.folder} does not load: {type(error).__name__}: {error}") from error


def _merged(model: object, adapter: Path) -> object:
    """Return the model with adapters added to its weights."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ConfigFault(f"--model {adapter}: adapters on their own need peft: `{INSTALL}`") from error
    wrapped: Any = PeftModel.from_pretrained(model, str(adapter))  # type: ignore[arg-type]  # load_model made it
    merged: object = wrapped.merge_and_unload()
    return merged
