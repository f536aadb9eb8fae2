"""The phases of the device lease: who may hold memory of the GPUs that learner and engines share, as tables."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from tetrad_wire.messages.membership import EngineMemory


class DevicePhase(StrEnum):
    """Whose turn it is on the GPUs that learner and engines share."""

    GENERATE = "generate"
    """Engines serve; what the ranks hold is in the host's memory, or there are no ranks."""
    DRAIN = "drain"
    """The learner needs the GPUs: leases are over, engines let go of all that they hold."""
    ENGINE_ASLEEP = "engine_asleep"
    """No engine holds anything: ranks start, or take back what they hold."""
    TRAIN = "train"
    """The ranks have everything on the GPUs: they execute steps."""
    PUBLISH = "publish"
    """Engines take the memory of their weights back, get the new version and commit it."""
    COMMITTED = "committed"
    """Engines hold the new version; the ranks copy a checkpoint where one is due, and bring all to the host."""
    LEARNER_OFFLOADED = "learner_offloaded"
    """The ranks hold nothing on the GPUs: engines take the memory of their KV caches back."""
    KV_AWAKE = "kv_awake"
    """Engines have all their memory, and prove what they compute with."""


_P = DevicePhase

DEVICE: Final[Mapping[DevicePhase, frozenset[DevicePhase]]] = {
    _P.GENERATE: frozenset({_P.DRAIN}),
    _P.DRAIN: frozenset({_P.ENGINE_ASLEEP}),
    _P.ENGINE_ASLEEP: frozenset({_P.TRAIN}),
    # Back: the ranks died, and others are to start where no engine holds anything.
    _P.TRAIN: frozenset({_P.PUBLISH, _P.ENGINE_ASLEEP}),
    # To drain, here and below: the ranks died, and engines hold memory already that their successors need.
    _P.PUBLISH: frozenset({_P.COMMITTED, _P.DRAIN}),
    _P.COMMITTED: frozenset({_P.LEARNER_OFFLOADED, _P.DRAIN}),
    _P.LEARNER_OFFLOADED: frozenset({_P.KV_AWAKE, _P.DRAIN}),
    _P.KV_AWAKE: frozenset({_P.GENERATE, _P.DRAIN}),
}

ENGINES_MAY_HOLD: Final[Mapping[DevicePhase, EngineMemory]] = {
    _P.GENERATE: EngineMemory.AWAKE,
    _P.DRAIN: EngineMemory.ASLEEP,
    _P.ENGINE_ASLEEP: EngineMemory.ASLEEP,
    _P.TRAIN: EngineMemory.ASLEEP,
    _P.PUBLISH: EngineMemory.WEIGHTS,
    _P.COMMITTED: EngineMemory.WEIGHTS,
    _P.LEARNER_OFFLOADED: EngineMemory.AWAKE,
    _P.KV_AWAKE: EngineMemory.AWAKE,
}

RANKS_MAY_HOLD: Final[frozenset[DevicePhase]] = frozenset({_P.ENGINE_ASLEEP, _P.TRAIN, _P.PUBLISH, _P.COMMITTED})
"""Phases in which ranks may be started, take back what they hold, and work."""
