"""Every reason has its sentence, with who, since when and the oldest lease."""

import pytest

from tetrad_learner.coordinator.core.device_phases import DevicePhase
from tetrad_learner.coordinator.core.waiting import OldestLease, Wait, WaitReason
from tetrad_learner.coordinator.wait_words import Cast, culprit, sentence
from tetrad_wire.ids import Draw, Incarnation

ENGINE = Incarnation("e1")
LEASE = OldestLease(draw=Draw(17), engine=ENGINE, age_s=12.1, unchanged_s=5.0, num_missing=3)
OLDEST = "the oldest lease is draw 17 at rollout-0, 12.1 s old, with 3 samples missing and no progress for 5.0 s"
CAST = Cast(engines={ENGINE: "rollout-0"}, broadcaster="broadcaster", ranks_silent_s=0.5)
R = WaitReason

CASES = [
    (Wait(reason=R.RANKS), CAST, "its trainer ranks to start and load", "learner"),
    (
        Wait(reason=R.DEVICE, engine=ENGINE, phase=DevicePhase.DRAIN, num_engines=2, detail="busy"),
        CAST,
        "the GPUs that it shares with 2 rollouts (phase drain): rollout-0 has not done so (busy)",
        "rollout-0",
    ),
    (Wait(reason=R.TRAIN, step=5), CAST, "its ranks to execute step 5, which last reported 0.5 s ago", "learner"),
    (
        Wait(reason=R.PUBLISH, step=4, detail="2 attempts failed"),
        CAST,
        "the weights after step 4 to be published (2 attempts failed): broadcaster is taking them",
        "broadcaster",
    ),
    (
        Wait(reason=R.PUBLISH, step=4),
        Cast(departed_broadcaster="gone 3.0 s ago: silent"),
        "the weights after step 4 to be published: no broadcaster is there (gone 3.0 s ago: silent)",
        "broadcaster",
    ),
    (
        Wait(reason=R.CHECKPOINT, step=4, detail="it is being written"),
        CAST,
        "the checkpoint of step 4: it is being written",
        "",
    ),
    (
        Wait(reason=R.EVALUATION, step=4, behind=R.GRADES, replica="reward-1", seconds=9.0, num_missing=2, lease=LEASE),
        CAST,
        "the evaluation after step 4 (2 prompts are missing), which waits for grades of the evaluation: "
        f"reward-1 has had one turn for 9.0 s; {OLDEST}",
        "reward-1",
    ),
    (Wait(reason=R.JOURNAL, step=4), CAST, "the journal of step 4 to be on disk", ""),
    (
        Wait(reason=R.ENGINES, step=4),
        Cast(departed_engine="rollout-0 left 4.0 s ago: silent for 6.2 s"),
        "a rollout to join: none is there (rollout-0 left 4.0 s ago: silent for 6.2 s)",
        "",
    ),
    (
        Wait(reason=R.WEIGHTS, engine=ENGINE, phase="staging", seconds=8.0, num_engines=1),
        CAST,
        "a rollout to run the newest weights (the only one does not): rollout-0 has been staging for 8.0 s",
        "rollout-0",
    ),
    (
        Wait(reason=R.WEIGHTS, engine=ENGINE, phase="staging", seconds=8.0, num_engines=2),
        Cast(engines={ENGINE: "rollout-0"}, broadcaster="broadcaster", broadcaster_silent_s=7.0),
        "a rollout to run the newest weights (none of 2 does): rollout-0 has been staging for 8.0 s, and "
        "broadcaster has said nothing for 7.0 s",
        "broadcaster",
    ),
    (
        Wait(reason=R.WEIGHTS, engine=ENGINE, engine_silent_s=4.0, num_engines=2),
        CAST,
        "a rollout to run the newest weights (none of 2 does): rollout-0 has said nothing for 4.0 s",
        "rollout-0",
    ),
    (
        Wait(reason=R.REWARDS),
        CAST,
        "a reward service that grades the next prompt: none is there",
        "",
    ),
    (
        Wait(reason=R.ROWS, step=2, detail="9 groups were drawn for it and dropped, the last as filtered"),
        CAST,
        "rows of the dataset to train on in step 2: 9 groups were drawn for it and dropped, the last as filtered",
        "",
    ),
    (
        Wait(reason=R.GENERATION, step=2, num_missing=4, engine=ENGINE, engine_silent_s=4.0, lease=LEASE),
        CAST,
        f"groups of step 2 (4 are missing) in generation: rollout-0 has said nothing for 4.0 s; {OLDEST}",
        "rollout-0",
    ),
    (
        Wait(reason=R.GRADES, step=2, num_missing=4, engine=ENGINE, replica="reward-0", seconds=11.9, lease=LEASE),
        CAST,
        f"grades of step 2 (4 are missing): reward-0 has had one turn for 11.9 s; {OLDEST}",
        "reward-0",
    ),
    (
        Wait(reason=R.RETRY, step=2, num_missing=1, seconds=0.4, detail="draw 3 failed 2 times"),
        CAST,
        "a group of step 2 (1 are missing) to be tried again in 0.4 s: draw 3 failed 2 times",
        "",
    ),
    (Wait(reason=R.END), CAST, "the end of the run: all is trained", ""),
]


@pytest.mark.parametrize(("wait", "cast", "what", "on"), CASES, ids=[case[0].reason for case in CASES])
def test_the_sentence_names_what_since_when_and_on_whom(wait: Wait, cast: Cast, what: str, on: str) -> None:
    assert sentence(wait, waited_s=75.0, cast=cast) == f"The learner has waited 1 min 15 s for {what}."
    assert culprit(wait, cast) == on


def test_every_reason_has_a_sentence() -> None:
    assert {case[0].reason for case in CASES} | {R.OVER} == set(WaitReason)
    assert sentence(Wait(reason=R.OVER), waited_s=1.0, cast=CAST) == "The learner waits for nothing: the run is over."


def test_a_rollout_that_has_left_goes_by_its_incarnation() -> None:
    wait = Wait(reason=R.GENERATION, engine=Incarnation("e9"), engine_silent_s=4.0, lease=LEASE)

    assert "rollout e9 has said nothing" in sentence(wait, waited_s=1.0, cast=CAST)
