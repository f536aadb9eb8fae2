from unit.learner.coordinator.core.core_harness import ENGINE, Harness

from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.keys import GroupKey, training
from tetrad_learner.coordinator.core.tables import LeaseState, SlotState, StepState
from tetrad_wire.ids import Draw, Incarnation
from tetrad_wire.messages.leases import Disposition, FailureKind, Lane
from tetrad_wire.messages.membership import RunState

OTHER = Incarnation("engine-2")


def eval_key(round_: int, draw: int = 0) -> GroupKey:
    return GroupKey(Lane.EVAL, round_, Draw(draw))


# ---- leases


def test_a_lease_is_renewed_by_every_accepted_sample() -> None:
    run = Harness(group_size=3, progress_timeout_s=10.0, liveness_s=1000.0)
    run.begin()
    run.certify()
    token = run.take(ef.Grant)[0].token

    for index in (0, 1):
        run.wait(8.0)
        run.sample(0, index, token=token)
    run.wait(8.0)

    assert run.image.leases[token].state is LeaseState.HELD


def test_progress_that_is_counted_after_a_sample_renews_too() -> None:
    run = Harness(group_size=3, progress_timeout_s=10.0, liveness_s=1000.0)
    run.begin()
    run.certify()
    token = run.take(ef.Grant)[0].token
    run.do(ev.LeasesProgressed, progress={token: 5})
    run.sample(0, 0, token=token)

    for progress in (6, 7, 8):
        run.wait(8.0)
        run.do(ev.LeasesProgressed, progress={token: progress})

    assert run.image.leases[token].state is LeaseState.HELD


def test_a_lease_without_progress_goes_to_another_engine() -> None:
    run = Harness(progress_timeout_s=5.0, liveness_s=1000.0)
    run.begin()
    run.certify(credit=1)
    (first,) = run.take(ef.Grant)
    run.certify(OTHER, credit=2)
    run.take(ef.Grant)

    run.wait(8.0)

    again = [grant for grant in run.take(ef.Grant) if grant.key == first.key]
    assert [grant.engine for grant in again] == [OTHER]
    assert again[0].token > first.token


def test_after_a_freeze_of_its_own_the_core_blames_nobody() -> None:
    run = Harness(progress_timeout_s=5.0, liveness_s=4.0)
    run.begin()
    run.certify()
    run.wait(1.0)

    run.now += 100.0
    run.certify()  # a heartbeat that has waited is read before the first tick
    run.wait(3.0)

    assert {lease.state for lease in run.image.leases.values()} == {LeaseState.HELD}


def test_after_a_freeze_of_its_own_an_evaluation_has_time_to_end() -> None:
    run = Harness(evaluation=(1,), is_evaluated_first=True, evaluation_timeout_s=10.0, liveness_s=4.0)
    run.begin()
    run.certify()

    run.now += 100.0
    run.do(ev.Ticked)

    assert run.take(ef.ReportEvaluation) == []
    assert run.sample(eval_key(0), 0) is Disposition.ACCEPTED


# ---- samples


def test_a_version_that_was_never_published_is_refused_however_early() -> None:
    run = Harness(max_staleness=3)
    run.begin()
    run.certify()

    assert run.sample(0, 0, version=99) is Disposition.REFUSED


def test_a_repeated_sample_must_be_equal_only_if_its_weights_are() -> None:
    run = Harness(is_deterministic=True, max_staleness=1)
    run.begin()
    run.certify()
    run.fill(0, 1)
    run.sample(2, 0, digest="by w0")
    run.journal()
    run.execute()
    version = run.publish("w1")

    assert run.sample(2, 0, version=version, digest="by w1") is Disposition.DUPLICATE
    assert run.core.state is RunState.RUNNING

    run.sample(2, 0, version=1, digest="by w0, but different")
    assert run.core.state is RunState.FAILED


def test_the_first_sample_pins_a_grader_that_no_replica_names() -> None:
    run = Harness()
    run.grader = ""
    run.begin()
    run.certify()

    assert run.sample(0, 0, grader="g1") is Disposition.ACCEPTED
    assert run.sample(0, 1, grader="g2") is Disposition.REFUSED

    run.restart()
    run.begin()
    assert run.core.groups.groups[training(0)].grader_version == "g1"
    assert run.sample(0, 1, version=2, grader="g2") is Disposition.REFUSED


def test_samples_given_up_are_durable() -> None:
    run = Harness(min_group_size=1, max_data_attempts=1)
    run.begin()
    run.certify()
    grant = run.take(ef.Grant)[0]
    run.sample(0, 0, token=grant.token)

    run.give_back(grant.token)
    run.restart()

    assert [slot.state for slot in run.image.groups[0].slots] == [SlotState.FILLED, SlotState.DROPPED]
    assert run.core.groups.num_complete == 1


# ---- versions and ranks


def test_a_batch_that_is_being_journaled_is_not_dropped_as_stale() -> None:
    run = Harness()
    run.begin()
    run.train(0, 1, version=1, digest="w1")
    run.certify(digest="w1")
    run.fill(2, 3, version=2)
    run.do(ev.RanksLost, reason="killed")
    run.do(ev.RanksReady, step=0)
    run.execute()

    run.publish("other weights")  # no longer those that drew the batch
    run.journal()

    assert run.image.steps[2].draws == (2, 3)


def test_a_restart_says_again_what_engines_should_run() -> None:
    run = Harness()
    version = run.begin()

    run.restart()
    run.do(ev.Ticked)

    assert [want.version for want in run.take(ef.Want)] == [version]


def test_a_restart_goes_through_the_states_of_the_table() -> None:
    run = Harness()
    run.begin()
    assert run.image.state is RunState.RUNNING

    run.restart()
    run.do(ev.Ticked)

    assert run.image.state is RunState.STARTING
    run.begin()
    assert run.image.state is RunState.RUNNING


def test_a_replay_that_is_cut_off_is_replayed_as_far_again() -> None:
    run = Harness()
    run.begin()
    run.train(0, 1, version=1, digest="w1")
    run.train(2, 3, version=2, digest="w2")
    run.restart()
    run.do(ev.RanksReady, step=0)
    run.execute()

    run.restart()
    run.do(ev.RanksReady, step=0)
    run.execute()
    run.execute()

    assert [publish.step for publish in run.take(ef.Publish)] == [2]


def test_steps_in_a_checkpoint_that_nobody_was_told_of_are_covered() -> None:
    run = Harness(checkpoint_interval=1)
    run.begin()
    run.train(0, 1, version=1, digest="w1")
    assert run.take(ef.SaveCheckpoint) == [ef.SaveCheckpoint(step=1)]
    run.do(ev.RanksLost, reason="killed after the rename")
    run.do(ev.RanksReady, step=0)  # the set that was started before the rename

    run.do(ev.RanksLost, reason="killed again")
    run.do(ev.RanksReady, step=1)

    assert run.image.steps[1].state is StepState.COVERED
    assert (run.image.executed, run.image.covered) == (1, 1)


def test_a_lost_checkpoint_covers_nothing() -> None:
    run = Harness(checkpoint_interval=1)
    run.begin()
    run.train(0, 1, version=1, digest="w1")
    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")
    assert run.image.covered == 1

    run.restart()
    run.do(ev.RanksReady, step=0)
    run.execute()
    run.publish("w1")

    assert run.image.covered == 0
    assert [save.step for save in run.take(ef.SaveCheckpoint)][-1] == 1


def test_ranks_that_always_die_in_saving_end_the_run() -> None:
    run = Harness(checkpoint_interval=1, max_rank_losses=3)
    run.begin()
    run.train(0, 1, version=1, digest="w1")
    run.do(ev.RanksLost, reason="out of disk")

    for _ in range(2):
        run.do(ev.RanksReady, step=0)
        run.execute()
        run.publish("w1")
        run.do(ev.RanksLost, reason="out of disk")

    assert run.core.state is RunState.FAILED
    assert "died 3 times" in run.image.reason


def test_ranks_that_begin_again_with_what_killed_them_changed_count_for_no_bound() -> None:
    run = Harness(max_rank_losses=3, max_step_attempts=2)
    run.begin()
    run.certify()
    run.fill(0, 1)
    run.journal()

    for _ in range(10):
        assert len(run.take(ef.Execute)) == 1
        run.do(ev.RanksLost, reason="out of memory", is_remedied=True)
        run.do(ev.RanksReady, step=0)
        run.publish("w0")

    assert run.core.state is RunState.RUNNING
    run.do(ev.RanksLost, reason="out of memory")
    run.do(ev.RanksReady, step=0)
    run.publish("w0")
    run.do(ev.RanksLost, reason="out of memory")
    assert run.core.state is RunState.FAILED


def test_a_poisoned_step_is_not_executed_again() -> None:
    run = Harness()
    run.begin()
    run.certify()
    run.fill(0, 1)
    run.journal()
    (execute,) = run.take(ef.Execute)
    run.do(ev.StepPoisoned, step=1, lineage=execute.lineage, reason="loss is nan")
    assert run.core.state is RunState.FAILED

    run.restart()
    run.begin()

    assert run.take(ef.Execute) == []
    assert "step 1 is poisoned" in run.image.reason


def test_what_another_lineage_says_is_not_believed() -> None:
    run = Harness()
    run.begin()
    run.certify()
    run.fill(0, 1)
    run.journal()

    run.do(ev.StepPoisoned, step=1, lineage=0, reason="loss is nan")
    run.do(ev.StepDone, step=1, lineage=0)

    assert run.core.state is RunState.RUNNING
    assert run.image.executed == 0


# ---- evaluation


def test_a_run_without_evaluation_data_ends() -> None:
    run = Harness(num_steps=1, is_evaluated_last=True)
    run.begin()
    run.train(0, 1, version=1, digest="w1")

    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")

    assert run.core.state is RunState.ENDED


def test_the_ranks_keep_their_weights_while_a_round_is_open() -> None:
    run = Harness(evaluation=(1,), is_evaluated_first=True, max_staleness=1)
    run.begin()
    run.certify()
    run.fill(0, 1)
    run.journal()
    assert run.take(ef.Execute) == []

    run.sample(eval_key(0), 0)
    run.do(ev.EvaluationReported, round=0)

    assert [execute.step for execute in run.take(ef.Execute)] == [1]


def test_samples_given_up_are_missing_in_a_round() -> None:
    run = Harness(evaluation=(2, 1), is_evaluated_first=True, max_data_attempts=1)
    run.begin()
    run.certify()
    grants = {grant.key: grant for grant in run.take(ef.Grant)}
    run.sample(eval_key(0, 0), 0)
    run.give_back(grants[eval_key(0, 0)].token)

    run.sample(eval_key(0, 1), 0)

    assert run.take(ef.ReportEvaluation) == [ef.ReportEvaluation(round=0, missing=1)]


def test_an_evaluated_group_without_its_grader_is_given_up_not_forgotten() -> None:
    run = Harness(evaluation=(2,), is_evaluated_first=True, progress_timeout_s=5.0, liveness_s=1000.0)
    run.begin()
    run.certify()
    run.sample(eval_key(0), 0)

    run.grader = "g2"
    run.wait(8.0)

    assert run.take(ef.ReportEvaluation) == [ef.ReportEvaluation(round=0, missing=1)]


def test_a_round_waits_for_weights_that_engines_can_get() -> None:
    run = Harness(evaluation=(1,), is_evaluated_first=True)
    run.begin()
    run.restart()

    run.do(ev.Ticked)
    assert run.take(ef.OpenEvaluation) == []

    run.begin()
    assert run.take(ef.OpenEvaluation) == [ef.OpenEvaluation(round=0)]


def test_a_round_begins_again_when_nobody_has_its_weights_any_more() -> None:
    run = Harness(evaluation=(1,), is_evaluated_first=True)
    run.begin()
    run.certify()
    (old,) = [grant for grant in run.take(ef.Grant) if grant.key.lane is Lane.EVAL]
    run.do(ev.EngineLeft, incarnation=ENGINE)
    run.do(ev.RanksLost, reason="killed")

    version = run.begin(digest="other")
    run.certify(OTHER, digest="other")

    (new,) = [grant for grant in run.take(ef.Grant) if grant.key.lane is Lane.EVAL]
    assert (new.version, new.key) == (version, old.key)
    assert run.sample(eval_key(0), 0, version=1) is Disposition.REFUSED
    assert run.sample(eval_key(0), 0, version=version) is Disposition.ACCEPTED


# ---- the run


def test_a_stalled_run_may_end() -> None:
    run = Harness(num_steps=1, liveness_s=1.0, stall_timeout_s=1000.0, progress_timeout_s=1e6, hard_timeout_s=1e6)
    run.begin()
    run.certify()
    run.fill(0, 1)
    run.wait(10.0, step=0.5)
    assert run.core.state is RunState.STALLED

    run.journal()
    run.execute()
    run.publish("w1")
    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")

    assert run.core.state is RunState.ENDED


def test_a_restarted_run_without_engines_fails_after_the_stall_timeout() -> None:
    run = Harness(stall_timeout_s=50.0)
    run.begin()
    run.restart()
    run.begin()

    run.wait(60.0)

    assert run.core.state is RunState.FAILED
    assert "no engine certified" in run.image.reason


def test_nobody_stalls_while_the_ranks_reload() -> None:
    run = Harness(stall_timeout_s=50.0)
    run.begin()
    run.restart()

    run.wait(200.0)

    assert run.core.state is RunState.STARTING


def test_nothing_is_granted_after_the_drop_that_was_one_too_many() -> None:
    run = Harness(batch_size=4, max_data_attempts=1, max_drops_per_step=0)
    run.begin()
    run.certify()
    grants = run.take(ef.Grant)

    run.give_back(grants[0].token)

    assert run.core.state is RunState.FAILED
    assert run.take(ef.Grant) == []


def test_a_stop_goes_on_after_a_crash() -> None:
    run = Harness()
    run.begin()
    run.certify()
    run.fill(0, 1)
    run.journal()
    run.do(ev.StopAsked, reason="enough")  # while step 1 is executed
    run.restart()

    run.do(ev.RanksReady, step=0)
    run.publish("w0")
    run.certify()
    run.execute()
    run.publish("w1")
    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")

    assert run.core.state is RunState.ENDED
    assert (run.image.cursor, run.image.executed) == (2, 1)


def test_an_engine_s_fault_is_not_the_prompts() -> None:
    run = Harness(max_data_attempts=1)
    run.begin()
    run.certify()
    token = run.take(ef.Grant)[0].token

    run.give_back(token, FailureKind.INFRA)
    run.wait(1.0)

    assert run.image.groups[0].reason == ""
    assert [grant.key.draw for grant in run.take(ef.Grant)] == [0]
