"""What a process says of itself is read from its pages, and said in words."""

import json

import pytest

from tetrad_cli.launch.control import InstanceStatus, Reply
from tetrad_cli.launch.probe import Page
from tetrad_cli.observed import Replicas, replicas_of, row_of, with_learners_books
from tetrad_cli.waits import parsed

READY = Page(200, b'{"detail": "certified"}')


def an_instance(name="rollout-0", **changes):
    role = name.partition("-")[0]
    fields = {"index": 0, "pid": 7, "port": 1, "state": "up", "restarts": 0, "uptime_s": 9.0, "last_exit": None}
    return InstanceStatus(**fields | {"name": name, "role": role} | changes)


def a_row(name, page, *, readiness=READY):
    return row_of(an_instance(name), readiness, Page(200, page.encode()), pid=7)


def the_learner_says(**rollout):
    fields = {"lag_steps": 0, "num_leases": 0, "phase": None, "silent_s": 0.4}
    return parsed({"sentence": "s", "reason": "grades", "on": "reward-0", "rollouts": {"rollout-0": fields | rollout}})


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("tetrad_rollout_weight_version 12.0\n", 12),
        ('x 1\ntetrad_learner_weight_version{run="a"} 3.0\n', 3),
        ("tetrad_broadcast_newest_version 4.0\n", 4),
        ("# HELP tetrad_rollout_weight_version v\n", None),
        ("", None),
    ],
)
def test_the_weight_version_is_read_from_the_metrics(text, version):
    assert a_row("rollout-0", text).weight_version == version


def test_no_page_has_no_version_and_no_wait():
    row = row_of(an_instance(), READY, None, pid=7)

    assert (row.weight_version, row.waits_for, row.tokens_per_s) == (None, "", None)


def test_one_look_shows_the_speed_of_a_rollout():
    assert a_row("rollout-0", "tetrad_rollout_speed_tokens 120.5\n").tokens_per_s == 120.5


REWARD = (
    'tetrad_reward_workers{{state="busy"}} {busy}\n'
    "tetrad_reward_queued_samples {queued}\ntetrad_reward_episodes {held}\n"
)
BROADCASTER = (
    "tetrad_broadcast_newest_version 4.0\ntetrad_broadcast_readers {readers}\n"
    'tetrad_broadcast_subscribers{{state="current"}} 1.0\ntetrad_broadcast_subscribers{{state="behind"}} {behind}\n'
)


@pytest.mark.parametrize(
    ("name", "page", "words"),
    [
        ("reward-0", REWARD.format(busy=2, queued=3, held=8), ""),
        ("reward-0", REWARD.format(busy=0, queued=3, held=8), "a free worker"),
        ("reward-0", REWARD.format(busy=0, queued=0, held=8), "the next turn of 8 episodes"),
        ("reward-0", REWARD.format(busy=0, queued=0, held=0), "a group to grade"),
        ("broadcaster", BROADCASTER.format(readers=2, behind=2), "2 rollouts that read version 4"),
        ("broadcaster", BROADCASTER.format(readers=0, behind=1), "1 rollouts to ask for version 4"),
        ("broadcaster", BROADCASTER.format(readers=0, behind=0), "version 5 of the learner"),
    ],
)
def test_an_idle_process_says_what_it_waits_for(name, page, words):
    assert a_row(name, page).waits_for == words


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"num_leases": 3}, ""),
        ({}, "a lease"),
        ({"num_leases": 3, "silent_s": 12.2}, "contact with the learner, none for 12 s"),
        ({"num_leases": 3, "phase": "staging"}, ""),
        ({"phase": "staging"}, "newer weights: staging"),
        ({"num_leases": 3, "phase": "committing"}, "newer weights: committing"),
        ({"phase": "waiting"}, "a broadcaster with newer weights"),
    ],
)
def test_a_ready_rollout_says_what_it_waits_for(known, words):
    assert with_learners_books(a_row("rollout-0", ""), the_learner_says(**known)).waits_for == words


def test_a_rollout_that_the_learner_does_not_know_waits_for_it():
    assert with_learners_books(a_row("rollout-1", ""), the_learner_says()).waits_for == "the learner to take it in"
    assert with_learners_books(a_row("rollout-1", ""), parsed({})).waits_for == ""


def test_who_is_not_ready_says_why_and_nothing_else():
    waiting = Page(503, json.dumps({"detail": "waiting for weights"}).encode())
    row = a_row("rollout-0", "", readiness=waiting)

    seen = with_learners_books(row, the_learner_says(phase="proving"))

    assert (seen.ready, seen.waits_for) == ("waiting for weights (proving)", "")


def test_the_row_of_the_learner_has_the_word_for_its_wait():
    assert with_learners_books(a_row("learner", ""), the_learner_says()).waits_for == "grades of reward-0"


def test_replicas_are_counted_against_those_that_are_wanted():
    instances = (an_instance("rollout-0"), an_instance("rollout-1"), an_instance("rollout-2", state="backoff"))
    reply = Reply(ok=True, instances=instances, wanted={"rollout": 3, "grafana": 0})

    assert replicas_of(reply) == {"rollout": Replicas(wanted=3, up=2)}
