"""The pure core of the coordinator: events in, effects out.

Owns ledger, leases and versions. Knows no socket, no disk, no clock: time comes with the events.
"""

from tetrad_learner.coordinator.core.config import CoreConfig
from tetrad_learner.coordinator.core.core import Core

__all__ = ["Core", "CoreConfig"]
