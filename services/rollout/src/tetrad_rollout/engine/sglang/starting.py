"""Starts a server by a run's knobs, and puts an engine on top of it."""

from tetrad_rollout.engine.catalog import EngineSettings
from tetrad_rollout.engine.sglang.arguments import abilities, server_arguments
from tetrad_rollout.engine.sglang.engine import SglangEngine
from tetrad_rollout.engine.sglang.memory import measured
from tetrad_rollout.engine.sglang.server import Server, capability, installed_versions, known_arguments
from tetrad_rollout.engine.sglang.start_report import started
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.engine.tokenizer import load_decode
from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)


def create(settings: EngineSettings) -> SglangEngine:
    """Start the server and put an engine on top of it; blocks for as long as the model takes to load."""
    found = capability()
    arguments, reason = server_arguments(settings, known=known_arguments(), capability=found)
    log.info(
        "server_starting",
        versions=installed_versions(),
        attention=arguments["attention_backend"],
        why=reason,
        **abilities(arguments, found),
    )
    num_gpus = settings.server.tensor_parallel_size if found is not None else 0
    share = float(arguments["mem_fraction_static"])
    server, held = started(lambda: measured(lambda: Server.start(arguments), num_gpus=num_gpus), share=share)
    log.info("server_ready", context=server.max_context, kv_tokens=server.max_tokens_held, pids=server.child_pids)
    weights = ServedWeights(server, settings=settings, is_on_gpu=found is not None)
    return SglangEngine(server, weights, settings=settings, decode=load_decode(settings.model_path), held=held)
