"""The durable image of the device lease: what its facts add up to, and how a lease is restored from it."""

from dataclasses import dataclass, field

from tetrad_learner.coordinator.core.device_lease import DeviceLease, Holder
from tetrad_learner.coordinator.core.device_phases import DevicePhase
from tetrad_learner.coordinator.core.facts import HolderAdmitted, HolderGone, PhaseEntered
from tetrad_wire.ids import Incarnation


@dataclass(slots=True)
class DeviceImage:
    """Whose turn it is, and who may hold memory."""

    phase: DevicePhase = DevicePhase.ENGINE_ASLEEP
    turn: int = 0
    holders: dict[Incarnation, str] = field(default_factory=dict)
    """Processes of colocated engines that are not known to be dead."""

    def apply(self, fact: PhaseEntered | HolderAdmitted | HolderGone) -> None:
        """Change the image by one fact."""
        match fact:
            case PhaseEntered():
                self.phase, self.turn = fact.phase, fact.turn
            case HolderAdmitted():
                self.holders[fact.engine] = fact.process
            case HolderGone():
                self.holders.pop(fact.engine, None)


def restore_device(lease: DeviceLease, image: DeviceImage) -> None:
    """Bring a new lease to the state of `image`: there are no ranks, and engines have yet to say what they hold."""
    lease.phase, lease.turn = image.phase, image.turn
    lease.holders.update({engine: Holder(process) for engine, process in image.holders.items()})
