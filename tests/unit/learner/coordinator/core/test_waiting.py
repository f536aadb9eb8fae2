"""What the learner waits for, state by state: a table of what has happened and the answer."""

from collections.abc import Callable

import pytest
from unit.learner.coordinator.core.core_harness import ENGINE, Harness

from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.config import Sampling
from tetrad_learner.coordinator.core.waiting import Wait, WaitReason, waiting_for
from tetrad_testing.builders import a_certificate, a_grading, a_weight_progress
from tetrad_wire.messages.leases import FailureKind
from tetrad_wire.messages.membership import EngineMemory, WeightPhase


def asked(run: Harness) -> Wait:
    """What it waits for now."""
    return waiting_for(run.core, run.now)


def beat(run: Harness, **fields: object) -> None:
    """The engine beats with its certificate and every lease it holds."""
    leases = run.core.leases.of_engine(ENGINE)
    certificate = a_certificate(incarnation=ENGINE, digest="w0")
    told = {"certificate": certificate, "progress": {lease.token: 1 for lease in leases}} | fields
    run.do(ev.EngineBeat, incarnation=ENGINE, **told)


def graded(run: Harness, num_turns: int) -> None:
    """The engine beats: so many turns of each lease are with `reward-0`."""
    leases = run.core.leases.of_engine(ENGINE)
    beat(run, grading={lease.token: a_grading(num_turns=num_turns, seconds=7.0) for lease in leases})


# ---- how each state comes about; each function takes a run that has only just been made


def nothing_yet(_run: Harness) -> None:
    pass


def ranks_ready(run: Harness) -> None:
    run.do(ev.RanksReady, step=0)


def publish_failed(run: Harness) -> None:
    run.do(ev.RanksReady, step=0)
    run.do(ev.PublishFailed, version=1, reason="no broadcaster")


def published(run: Harness) -> None:
    run.begin()


def joined(run: Harness) -> None:
    run.begin()
    run.do(ev.EngineJoined, incarnation=ENGINE, credit=8)
    beat(run, certificate=None, weights=a_weight_progress(phase=WeightPhase.STAGING, seconds=3.0))


def certified(run: Harness) -> None:
    run.begin()
    run.certify()


def engine_frozen(run: Harness) -> None:
    certified(run)
    graded(run, 2)
    run.wait(4.0)


def all_in_grading(run: Harness) -> None:
    certified(run)
    graded(run, 2)


def some_in_grading(run: Harness) -> None:
    certified(run)
    graded(run, 1)


def last_in_grading(run: Harness) -> None:
    certified(run)
    run.sample(0, 0)
    graded(run, 1)


def no_reward_service(run: Harness) -> None:
    run.grader = None
    certified(run)


def in_back_off(run: Harness) -> None:
    certified(run)
    for lease in run.core.leases.of_engine(ENGINE):
        run.give_back(lease.token, FailureKind.INFRA)


def all_filtered(run: Harness) -> None:
    certified(run)
    run.grade(0, 1.0, 1.0)
    run.grade(1, 1.0, 1.0)


def none_usable(run: Harness) -> None:
    certified(run)
    for _ in range(4):
        run.give_back(run.core.leases.of_engine(ENGINE)[0].token)


def journaling(run: Harness) -> None:
    certified(run)
    run.fill(0, 1)


def executing(run: Harness) -> None:
    journaling(run)
    run.journal()


def publishing(run: Harness) -> None:
    executing(run)
    run.execute()


def copying(run: Harness) -> None:
    publishing(run)
    run.publish("w1")


def ranks_lost(run: Harness) -> None:
    executing(run)
    run.do(ev.RanksLost, reason="killed")


def evaluated(run: Harness) -> None:
    certified(run)
    graded(run, 1)


def evaluated_without_engines(run: Harness) -> None:
    run.begin()


def last_checkpoint(run: Harness) -> None:
    copying(run)
    run.do(ev.CheckpointCopied, step=1)


def draining(run: Harness) -> None:
    last_checkpoint(run)
    run.do(ev.CheckpointWritten, step=1, folder="f")


CASES: list[tuple[Callable[[Harness], None], dict[str, object], WaitReason, dict[str, object]]] = [
    (nothing_yet, {}, WaitReason.RANKS, {"step": 1}),
    (ranks_ready, {}, WaitReason.PUBLISH, {"step": 0}),
    (publish_failed, {}, WaitReason.PUBLISH, {"detail": "1 attempts failed"}),
    (published, {}, WaitReason.ENGINES, {"step": 1, "num_missing": 2}),
    (joined, {}, WaitReason.WEIGHTS, {"engine": ENGINE, "phase": "staging", "seconds": 3.0, "num_engines": 1}),
    (certified, {}, WaitReason.GENERATION, {"engine": ENGINE, "num_missing": 2}),
    (some_in_grading, {}, WaitReason.GENERATION, {"replica": ""}),
    (all_in_grading, {}, WaitReason.GRADES, {"replica": "reward-0", "seconds": 7.0}),
    (last_in_grading, {}, WaitReason.GRADES, {"replica": "reward-0"}),
    (engine_frozen, {}, WaitReason.GENERATION, {"engine": ENGINE, "engine_silent_s": 4.0, "replica": ""}),
    (no_reward_service, {}, WaitReason.REWARDS, {"num_engines": 1}),
    (in_back_off, {}, WaitReason.RETRY, {"detail": "draw 0 failed 1 times"}),
    (all_filtered, {"sampling": Sampling.FILTER}, WaitReason.ROWS, {"step": 1}),
    (none_usable, {}, WaitReason.ROWS, {"step": 1}),
    (journaling, {}, WaitReason.JOURNAL, {"step": 1}),
    (executing, {}, WaitReason.TRAIN, {"step": 1}),
    (publishing, {}, WaitReason.PUBLISH, {"step": 1}),
    (copying, {"checkpoint_interval": 1}, WaitReason.CHECKPOINT, {"step": 1}),
    (last_checkpoint, {"num_steps": 1}, WaitReason.CHECKPOINT, {"detail": "it is being written"}),
    (draining, {"num_steps": 1}, WaitReason.OVER, {"step": 1}),
    (ranks_lost, {}, WaitReason.RANKS, {"step": 1}),
    (
        evaluated,
        {"evaluation": (1, 1), "is_evaluated_first": True},
        WaitReason.EVALUATION,
        {"behind": WaitReason.GRADES, "step": 0, "num_missing": 2, "replica": "reward-0"},
    ),
    (
        evaluated_without_engines,
        {"evaluation": (1,), "is_evaluated_first": True},
        WaitReason.EVALUATION,
        {"behind": WaitReason.ENGINES, "num_missing": 1},
    ),
]


@pytest.mark.parametrize(("happens", "config", "reason", "fields"), CASES, ids=[case[0].__name__ for case in CASES])
def test_the_learner_waits_for(
    happens: Callable[[Harness], None], config: dict[str, object], reason: WaitReason, fields: dict[str, object]
) -> None:
    run = Harness(**config)  # type: ignore[arg-type]
    happens(run)

    wait = asked(run)

    assert wait.reason is reason
    assert {name: getattr(wait, name) for name in fields} == fields


def test_every_reason_but_the_last_moments_has_a_case() -> None:
    """DEVICE has a test of its own below; END lasts from the last checkpoint to the same event's end of the run."""
    assert set(WaitReason) - {case[2] for case in CASES} == {WaitReason.DEVICE, WaitReason.END}


def test_shared_gpus_that_an_engine_holds_are_waited_for_by_name() -> None:
    run = Harness(is_colocated=True)
    run.do(ev.EngineJoined, incarnation=ENGINE, credit=8, process="7-1")
    run.do(ev.RanksReady, step=0)
    run.do(ev.Ticked)

    run.core.device.phase = run.core.device.phase.DRAIN
    wait = asked_for_ranks_lost(run)

    assert (wait.reason, wait.engine, wait.phase) == (WaitReason.DEVICE, ENGINE, "drain")
    assert EngineMemory.ASLEEP not in {holder.report for holder in run.core.device.holders.values()}


def asked_for_ranks_lost(run: Harness) -> Wait:
    """What it waits for once the ranks are gone and may not start yet."""
    run.core.steps.lose_ranks()
    return asked(run)


def test_the_oldest_lease_is_told_with_its_engine_and_age() -> None:
    run = Harness()
    certified(run)
    run.wait(2.0)
    beat(run)

    lease = asked(run).lease

    assert lease is not None
    assert (lease.draw, lease.engine, lease.age_s, lease.num_missing) == (0, ENGINE, 2.0, 2)
    assert lease.unchanged_s == 0.0


def publishing_failed(run: Harness) -> None:
    publishing(run)
    run.do(ev.PublishFailed, version=2, reason="no broadcaster")


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (journaling, WaitReason.JOURNAL),
        (executing, WaitReason.TRAIN),
        (publishing, WaitReason.PUBLISH),
        (publishing_failed, WaitReason.PUBLISH),
        (ranks_lost, WaitReason.RANKS),
    ],
)
def test_the_oldest_lease_is_told_whatever_the_learner_waits_for(
    happens: Callable[[Harness], None], reason: WaitReason
) -> None:
    run = Harness(max_staleness=1)
    happens(run)
    held = run.core.leases.leases.values()
    run.wait(2.0)

    wait = asked(run)

    assert wait.reason is reason
    assert wait.lease is not None
    assert wait.lease.draw == min(lease.key.draw for lease in held) == 2
    assert (wait.lease.engine, wait.lease.age_s, wait.lease.num_missing) == (ENGINE, 2.0, 2)


def test_without_a_lease_there_is_no_oldest() -> None:
    run = Harness()
    executing(run)

    assert asked(run).lease is None


def test_the_answer_changes_nothing() -> None:
    run = Harness()
    certified(run)
    before = run.do(ev.Ticked)

    asked(run)

    assert run.do(ev.Ticked) == before == []
    assert run.take(ef.Execute) == []


def test_the_same_wait_for_the_next_step_is_another() -> None:
    run = Harness()
    certified(run)
    first = asked(run)
    run.fill(0, 1)
    run.journal()
    run.execute()
    run.publish("w1")
    run.certify(digest="w1")

    assert asked(run).reason is first.reason
    assert asked(run).key != first.key
