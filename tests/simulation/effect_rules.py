"""What each effect may ask for, when it is decided and when it is performed."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from simulation import sampling_rules
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core.device_phases import DevicePhase
from tetrad_learner.coordinator.core.tables import SlotState
from tetrad_wire.messages.leases import Disposition, Lane
from tetrad_wire.messages.steps import StatePlace

if TYPE_CHECKING:
    from simulation.watch import Watch


def check_decided(watch: "Watch", effect: ef.Effect) -> None:
    """Raise Broken if the core may not decide this now."""
    rule = DECIDED.get(type(effect))
    if rule is not None:
        rule(watch, effect)


def check_performed(watch: "Watch", effect: ef.Effect) -> None:
    """Raise Broken if what `effect` tells the world is not durable yet."""
    rule = PERFORMED.get(type(effect))
    if rule is not None:
        rule(watch, effect)


def _grant(watch: "Watch", grant: ef.Grant) -> None:
    phase = watch.image.device.phase
    watch.expect(not watch.config.is_colocated or phase is DevicePhase.GENERATE, f"{grant.key} is granted in {phase}")
    watch.expect(not watch.is_over, f"{grant.key} is granted after the end of the run")
    digest = watch.digest_of(grant.version)
    certificate = watch.certificates.get(grant.engine)
    is_proven = (
        certificate is not None and certificate.incarnation == grant.engine and digest and certificate.digest == digest
    )
    watch.expect(is_proven, f"{grant.key} is granted to {grant.engine} with {certificate}, wanted {digest}")
    if grant.key.lane is Lane.EVAL:
        watch.evaluation.granted(grant)
    else:
        watch.check_lag(grant.version, len(watch.image.steps) + 1, f"lease {grant.token}")


def _want(watch: "Watch", want: ef.Want) -> None:
    watch.expect(want.digest != "", f"version {want.version} is wanted without a digest")
    known = watch.digest_of(want.version)
    watch.expect(known == want.digest, f"version {want.version} is wanted as {want.digest}, known as {known}")
    before, evaluating = watch.wanted, watch.evaluation.leases
    watch.expect(before == want.version or not evaluating, f"{want} while {list(evaluating)} evaluate")
    watch.expect(before is None or want.version >= before, f"version {want.version} is wanted after {before}")
    watch.wanted = want.version


def _journal(watch: "Watch", journal: ef.Journal) -> None:
    complete = sorted(draw for draw in watch.open if watch.is_complete(draw))
    sampling_rules.check_journal(watch, journal, complete)
    watch.batches[journal.step] = journal.draws
    if watch.config.max_staleness == 0:
        for draw in journal.draws:
            watch.check_wanted(watch.versions_of(draw), f"draw {draw} of step {journal.step}")


def _run(watch: "Watch", change: ef.ChangeRun) -> None:
    watch.is_over = change.state.is_over


def _revoke(watch: "Watch", revoke: ef.Revoke) -> None:
    watch.evaluation.over(revoke.token)


def _answered(watch: "Watch", answer: ef.Acknowledge) -> None:
    if answer.key.lane is Lane.EVAL and answer.disposition is Disposition.ACCEPTED:
        watch.evaluation.accepted(answer)


def _report(watch: "Watch", report: ef.ReportEvaluation) -> None:
    is_new = report.round not in watch.image.rounds and report.round not in watch.reported
    watch.expect(is_new, f"evaluation {report.round} is reported twice")
    watch.reported.add(report.round)
    missing = watch.evaluation.num_missing
    watch.expect(report.missing == missing, f"evaluation {report.round}: {report.missing} missing, in truth {missing}")


def _open_evaluation(watch: "Watch", opened: ef.OpenEvaluation) -> None:
    watch.expect(opened.round not in watch.image.rounds, f"evaluation {opened.round} is opened again")
    watch.evaluation.open(opened.round)


def _acknowledge(watch: "Watch", answer: ef.Acknowledge) -> None:
    if answer.key.lane is Lane.EVAL or answer.disposition is Disposition.REFUSED:
        return
    group = watch.world.disk.image.groups.get(answer.key.draw)
    state = group.slots[answer.index].state if group is not None else None
    is_durable = state is not None and state is not SlotState.EMPTY
    watch.expect(is_durable, f"{answer.key} {answer.index} is acknowledged as {answer.disposition}, durable is {state}")


def _execute(watch: "Watch", execute: ef.Execute) -> None:
    steps = watch.world.disk.image.steps
    watch.expect(execute.step in steps, f"step {execute.step} is executed before it is sealed for good")
    journaled = tuple(dict.fromkeys(draw for draw, _i, _d in watch.world.disk.journal.get(execute.step, ())))
    draws = steps[execute.step].draws
    watch.expect(journaled == draws, f"step {execute.step}: the journal has {journaled}, the ledger {draws}")
    sampling_rules.check_execute(watch, execute.step)


def _publish(watch: "Watch", publish: ef.Publish) -> None:
    version = watch.world.disk.image.versions.get(publish.version)
    is_durable = version is not None and version.step == publish.step
    watch.expect(is_durable, f"version {publish.version} is published before it is minted for good")


def _performed_want(watch: "Watch", want: ef.Want) -> None:
    version = watch.world.disk.image.versions.get(want.version)
    is_durable = version is not None and version.digest == want.digest
    watch.expect(is_durable, f"version {want.version} is wanted before its digest is durable")


def _performed_phase(watch: "Watch", enter: ef.EnterPhase) -> None:
    device = watch.world.disk.image.device
    watch.expect(device.turn >= enter.turn, f"engines are told of turn {enter.turn}, durable is {device.turn}")
    unknown = set(enter.engines) - device.holders.keys()
    strangers = [engine for engine in unknown if watch.world.is_process_alive(engine)]
    watch.expect(not strangers, f"{strangers} may hold memory before that is durable")


def _move(watch: "Watch", move: ef.MoveState) -> None:
    phase = watch.image.device.phase
    permitted = DevicePhase.ENGINE_ASLEEP if move.place is StatePlace.DEVICE else DevicePhase.COMMITTED
    watch.expect(phase is permitted, f"ranks are to move to {move.place} in {phase}")


def _performed_grant(watch: "Watch", grant: ef.Grant) -> None:
    if grant.key.lane is Lane.TRAIN:
        is_durable = grant.token in watch.world.disk.image.leases
        watch.expect(is_durable, f"lease {grant.token} is granted before it is durable")


DECIDED: Final[Mapping[type[ef.Effect], Callable[..., None]]] = {
    ef.Grant: _grant,
    ef.Want: _want,
    ef.Journal: _journal,
    ef.ReportEvaluation: _report,
    ef.OpenEvaluation: _open_evaluation,
    ef.Revoke: _revoke,
    ef.ChangeRun: _run,
    ef.Acknowledge: _answered,
    ef.MoveState: _move,
}

PERFORMED: Final[Mapping[type[ef.Effect], Callable[..., None]]] = {
    ef.Acknowledge: _acknowledge,
    ef.Execute: _execute,
    ef.Publish: _publish,
    ef.Want: _performed_want,
    ef.Grant: _performed_grant,
    ef.EnterPhase: _performed_phase,
}
