"""How this project's packages get on a machine. Nothing of it is on a package index: it is installed from a clone."""

from typing import Final

INSTALL: Final = "make setup, in the clone"
INSTALL_FOR_GPUS: Final = "make setup TORCH_BACKEND=auto, in the clone"
# Other versions of torch and transformers than those of the constraints: two environments, not one.
INSTALL_SGLANG: Final = (
    "an environment of its own, without constraints.txt: .venv/bin/uv pip install --python .venv-gpu/bin/python … "
    "-e 'services/rollout[sglang]'; docs/how-to/run-on-a-gpu.md has the whole of it"
)
