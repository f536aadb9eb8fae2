from tetrad_learner.coordinator.core.device_phases import DevicePhase
from tetrad_learner.coordinator.memory_ledger import MemoryLedger
from tetrad_telemetry.metrics import Metrics
from tetrad_testing.builders import memory_figures
from tetrad_wire.messages.membership import Role


def a_ledger() -> tuple[MemoryLedger, Metrics]:
    metrics = Metrics("learner", version="1")
    return MemoryLedger(metrics), metrics


def test_a_phase_has_what_each_process_held_before_after_and_at_most() -> None:
    ledger, metrics = a_ledger()
    ledger.note(Role.TRAINER, "trainer-0", memory_figures(used=10))

    ledger.enter(DevicePhase.TRAIN, 1.0)
    ledger.note(Role.TRAINER, "trainer-0", memory_figures(used=30))
    ledger.note(Role.ROLLOUT, "rollout-0", memory_figures(used=5))
    ledger.enter(DevicePhase.PUBLISH, 3.0)

    assert ledger.table() == {
        "train": {
            "times": 1,
            "seconds": 2.0,
            "bytes": {
                "rollout-0": {"before": 0, "after": 5, "most": 5},
                "trainer-0": {"before": 10, "after": 30, "most": 30},
            },
        }
    }
    text = metrics.render().decode()
    assert 'tetrad_learner_device_held_bytes{phase="train",role="trainer"} 30.0' in text


def test_the_same_phase_again_is_no_new_one() -> None:
    ledger, _metrics = a_ledger()

    for now in (1.0, 2.0, 3.0):
        ledger.enter(DevicePhase.GENERATE, now)

    assert ledger.table() == {}


def test_the_dead_hold_nothing() -> None:
    ledger, _metrics = a_ledger()
    ledger.note(Role.TRAINER, "trainer-0", memory_figures(used=1 << 30))
    assert ledger.holders() == "trainer-0 1.00 GiB"

    ledger.forget("trainer-0")

    assert ledger.holders() == "nobody has reported anything"
