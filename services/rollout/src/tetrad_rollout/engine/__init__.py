"""Inference engines: the protocol, the implementations behind it, and the two-phase update of their weights.

Importing this package imports no torch and no transformers; `create_engine` does when it must.
"""

from tetrad_rollout.engine.catalog import EngineName, EngineSettings, create_engine, engine_name
from tetrad_rollout.engine.core import BatchSettings
from tetrad_rollout.engine.errors import (
    DigestMismatchError,
    EngineAsleepError,
    EngineBusyError,
    EngineClosedError,
    EngineError,
    ForwardFailedError,
    InvalidRequestError,
    LayoutError,
    ProbeFailedError,
    UnknownEngineError,
    WeightStateError,
)
from tetrad_rollout.engine.protocol import (
    CachePolicy,
    CommitReport,
    Engine,
    EngineStatistics,
    FinishReason,
    GeneratedSample,
    GenerationRequest,
    MemoryTag,
    PauseMode,
    ProbeReport,
    Progress,
    RequestId,
    Sampling,
    VersionSpan,
    WeightLayout,
)
from tetrad_rollout.engine.update import switch_weights
from tetrad_rollout.engine.weight_state import UNVERSIONED, WeightState, WeightStatus

__all__ = [
    "UNVERSIONED",
    "BatchSettings",
    "CachePolicy",
    "CommitReport",
    "DigestMismatchError",
    "Engine",
    "EngineAsleepError",
    "EngineBusyError",
    "EngineClosedError",
    "EngineError",
    "EngineName",
    "EngineSettings",
    "EngineStatistics",
    "FinishReason",
    "ForwardFailedError",
    "GeneratedSample",
    "GenerationRequest",
    "InvalidRequestError",
    "LayoutError",
    "MemoryTag",
    "PauseMode",
    "ProbeFailedError",
    "ProbeReport",
    "Progress",
    "RequestId",
    "Sampling",
    "UnknownEngineError",
    "VersionSpan",
    "WeightLayout",
    "WeightState",
    "WeightStateError",
    "WeightStatus",
    "create_engine",
    "engine_name",
    "switch_weights",
]
