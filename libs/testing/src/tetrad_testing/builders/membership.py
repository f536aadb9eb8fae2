"""Registration, heartbeats, desired state."""

from typing import Any

from tetrad_testing.builders.values import DIGEST, INCARNATION, RUN, Changes
from tetrad_wire.ids import Incarnation, PolicyVersion, Token
from tetrad_wire.messages import joining, membership, refusals


def a_rollout_offer(**changes: Changes) -> membership.RolloutOffer:
    """What a CPU rollout replica can do."""
    fields: dict[str, Any] = {
        "engine": "transformers",
        "credit": 2,
        "honours_seeds": True,
        "is_deterministic": True,
    }
    return membership.RolloutOffer(**fields | changes)


def a_reward_offer(**changes: Changes) -> membership.RewardOffer:
    """One arithmetic environment."""
    fields: dict[str, Any] = {
        "environments": (
            membership.EnvironmentOffer(name="arithmetic", grader_version="arithmetic-1", is_replayable=True),
        ),
        "credit": 64,
    }
    return membership.RewardOffer(**fields | changes)


def a_hello(**changes: Changes) -> membership.Hello:
    """A rollout replica that registers."""
    fields: dict[str, Any] = {
        "role": membership.Role.ROLLOUT,
        "name": "rollout-0",
        "incarnation": INCARNATION,
        "metrics_url": "http://127.0.0.1:9100",
        "host": "host-1",
        "pid": 4711,
        "rollout": a_rollout_offer(),
        "versions": {"tetrad": "0.1.0"},
    }
    return membership.Hello(**fields | changes)


def a_certificate(**changes: Changes) -> membership.Certificate:
    """Of version 1."""
    fields: dict[str, Any] = {
        "run": RUN,
        "incarnation": INCARNATION,
        "version": PolicyVersion(1),
        "digest": DIGEST,
        "cache_policy": membership.CachePolicy.FLUSH,
        "is_probe_ok": True,
    }
    return membership.Certificate(**fields | changes)


def memory_figures(**changes: Changes) -> membership.MemoryFigures:
    """Of a process that holds a quarter of a small GPU."""
    fields: dict[str, Any] = {"used": 1024, "free": 2048, "total": 4096, "gpu": "GPU-0"}
    return membership.MemoryFigures(**fields | changes)


def a_device_report(**changes: Changes) -> membership.DeviceReport:
    """Of an engine that has obeyed order 2, and holds everything."""
    fields: dict[str, Any] = {
        "turn": 2,
        "memory": membership.EngineMemory.AWAKE,
        "digest": DIGEST,
        "figures": memory_figures(),
    }
    return membership.DeviceReport(**fields | changes)


def a_device_order(**changes: Changes) -> membership.DeviceOrder:
    """The second one: everything, for one engine."""
    fields: dict[str, Any] = {
        "turn": 2,
        "memory": membership.EngineMemory.AWAKE,
        "engines": (INCARNATION,),
    }
    return membership.DeviceOrder(**fields | changes)


def a_grading(**changes: Changes) -> membership.Grading:
    """One turn that `reward-0` has had for half a second."""
    fields: dict[str, Any] = {"num_turns": 1, "replica": "reward-0", "seconds": 0.5}
    return membership.Grading(**fields | changes)


def a_weight_progress(**changes: Changes) -> membership.WeightProgress:
    """Of a rollout that fetches version 2."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(2),
        "phase": membership.WeightPhase.STAGING,
        "seconds": 0.25,
    }
    return membership.WeightProgress(**fields | changes)


def a_ranks_order(**changes: Changes) -> membership.RanksOrder:
    """One rank on each of two hosts, from the beginning."""
    fields: dict[str, Any] = {
        "incarnation": Incarnation("0011223344556677"),
        "hosts": (INCARNATION,),
        "ranks_per_host": 1,
        "rendezvous": "10.0.0.1:29500",
        "num_steps": 8,
        "steps_per_epoch": 4,
    }
    return membership.RanksOrder(**fields | changes)


def a_ranks_report(**changes: Changes) -> membership.RanksReport:
    """They run."""
    fields: dict[str, Any] = {"incarnation": Incarnation("0011223344556677"), "is_running": True}
    return membership.RanksReport(**fields | changes)


def a_heartbeat(**changes: Changes) -> membership.Heartbeat:
    """Of a certified rollout that holds one lease."""
    fields: dict[str, Any] = {
        "incarnation": INCARNATION,
        "generation": 3,
        "credit": 1,
        "certificate": a_certificate(),
        "leases": (membership.LeaseProgress(token=Token(5), progress=17, grading=a_grading()),),
        "weights": a_weight_progress(),
    }
    return membership.Heartbeat(**fields | changes)


def a_reward_route(**changes: Changes) -> membership.RewardRoute:
    """To `reward-0`."""
    fields: dict[str, Any] = {
        "name": "reward-0",
        "incarnation": Incarnation("fedcba9876543210"),
        "endpoint": "ipc:///tmp/tetrad/reward-0",
        "offer": a_reward_offer(),
    }
    return membership.RewardRoute(**fields | changes)


def a_desired(**changes: Changes) -> membership.Desired:
    """Of a running run at version 1."""
    fields: dict[str, Any] = {
        "generation": 3,
        "state": membership.RunState.RUNNING,
        "run": RUN,
        "weights": membership.WantedWeights(version=PolicyVersion(1), digest=DIGEST, step=0),
        "rewards": (a_reward_route(),),
        "broadcaster": "ipc:///tmp/tetrad/broadcaster",
    }
    return membership.Desired(**fields | changes)


def a_run_question(**changes: Changes) -> joining.AskRun:
    """From another host."""
    fields: dict[str, Any] = {"name": "host-1"}
    return joining.AskRun(**fields | changes)


def a_run_description(**changes: Changes) -> joining.RunDescribed:
    """Of a run with a short file."""
    fields: dict[str, Any] = {
        "run": RUN,
        "name": "demo",
        "config": "trainer:\n  seed: 42\n",
        "broadcaster": "tcp://10.0.0.1:7001",
    }
    return joining.RunDescribed(**fields | changes)


def a_bye(**changes: Changes) -> membership.Bye:
    """A farewell."""
    fields: dict[str, Any] = {
        "incarnation": INCARNATION,
        "reason": "drained",
    }
    return membership.Bye(**fields | changes)


def a_refusal(**changes: Changes) -> refusals.Refused:
    """Of a message that a reward's key may not send."""
    fields: dict[str, Any] = {
        "code": refusals.RefusalCode.WRONG_ROLE,
        "reason": "the key of a reward may not send PublishVersion",
    }
    return refusals.Refused(**fields | changes)
