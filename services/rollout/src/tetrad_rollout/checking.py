"""`--check`: whether a rollout replica could run here. Looks at files; loads no model, no tokenizer, no torch."""

from pathlib import Path
from typing import Final

from tetrad_config import RolloutSettings, RunConfig
from tetrad_rollout.model_folder import model_folder_here
from tetrad_runtime.exits import ConfigFault, ExitCode
from tetrad_runtime.wiring import check_wiring
from tetrad_transport.endpoints import check_endpoint
from tetrad_transport.keys import KeyRole

MODEL_CONFIG: Final = "config.json"
WEIGHTS: Final = "*.safetensors"
# A fast tokenizer is one file; the others are what its slow kin are made from.
TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check(settings: RolloutSettings, config: RunConfig) -> int:
    """Say what was found; raises ConfigFault naming what is missing."""
    check_wiring(settings, KeyRole.ROLLOUT)
    if settings.relay is not None:
        try:
            check_endpoint(settings.relay, allow_clear_tcp=settings.allow_clear_tcp, has_keys=settings.keys is not None)
        except ValueError as error:
            raise ConfigFault(str(error)) from error
    model = model_folder_here(config.generator.model_name)
    check_model(model)
    print(f"ok: {settings.name} generates with {config.generator.backend} from {model}")
    return ExitCode.OK


def check_model(model: Path) -> None:
    """Raise ConfigFault unless the folder has a model and its tokenizer."""
    if not (model / MODEL_CONFIG).is_file():
        raise ConfigFault(f"{model} has no {MODEL_CONFIG}; trainer.policy.model.path must name a Hugging Face folder")
    if not any(model.glob(WEIGHTS)):
        raise ConfigFault(f"{model} has no weights ({WEIGHTS}); save the model with safe_serialization=True")
    if not any((model / name).is_file() for name in TOKENIZERS):
        raise ConfigFault(f"{model} has no tokenizer ({', '.join(TOKENIZERS)}); put tokenizer.json into it")
