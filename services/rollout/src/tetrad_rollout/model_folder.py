"""The model's folder on this host: a folder as it is, a name on the Hugging Face Hub from its cache or fetched into it.

The learner's first rank does the same; by a lock of the Hub's client one process of a host fetches, and others wait.
"""

from pathlib import Path
from typing import Final

from tetrad_runtime.exits import ConfigFault

# What the learner fetches too, so that one snapshot serves both.
FILES: Final = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


def model_folder(name: str) -> Path:
    """Return the folder, fetching a model of the Hub that is not here; raises ConfigFault naming what is wrong."""
    return _found(name, is_fetched=True)


def model_folder_here(name: str) -> Path:
    """Return the folder without asking anybody; raises ConfigFault where it is not on this host."""
    return _found(name, is_fetched=False)


def snapshot(name: str, *, is_fetched: bool) -> Path:
    """Return the folder of a model of the Hub in this host's cache; raises LookupError with the Hub's reason."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES), local_files_only=not is_fetched))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise LookupError(str(error).strip().partition("\n")[0]) from error


def _found(name: str, *, is_fetched: bool) -> Path:
    folder = Path(name)
    if folder.is_dir():
        return folder
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise ConfigFault(f"{name} is no folder; trainer.policy.model.path must name a Hugging Face folder")
    try:
        return snapshot(name, is_fetched=is_fetched)
    except LookupError as error:
        raise ConfigFault(
            f"{name} is no folder, and the Hub does not give it ({error}); fetch it once with a network, set HF_TOKEN "
            "for a model that needs it, or name a local folder in trainer.policy.model.path"
        ) from error
