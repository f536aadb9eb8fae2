"""The real SGLang as the tests start it."""

from pathlib import Path
from typing import Any

from sglang_site.builders import DTYPE, IS_ON_GPU
from tetrad_rollout.engine import BatchSettings, EngineSettings
from tetrad_rollout.engine.server_options import ServerOptions
from tetrad_rollout.engine.sglang.arguments import server_arguments
from tetrad_rollout.engine.sglang.server import Server, capability, known_arguments

# Quick to start, and room for others on the GPU.
ON_A_GPU = {"disable_prefill_cuda_graph": True, "cuda_graph_bs_decode": [1, 4, 16, 64], "mem_fraction_static": 0.2}


def settings_of(folder: Path, *, batch: BatchSettings | None = None, **options: Any) -> EngineSettings:
    """What an engine of the tests is made from."""
    extra = {**(ON_A_GPU if IS_ON_GPU else {}), **options.pop("extra", {})}
    server = ServerOptions(extra=extra, may_sleep=IS_ON_GPU, **options)
    return EngineSettings(model_path=folder, dtype=DTYPE, batch=batch or BatchSettings(max_num_seqs=64), server=server)


def start(folder: Path, **options: Any) -> Server:
    """Start a server; inside an event loop, on the main thread."""
    arguments, _why = server_arguments(settings_of(folder, **options), known=known_arguments(), capability=capability())
    return Server.start(arguments)
