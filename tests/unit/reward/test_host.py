from pathlib import Path

import pytest

from tetrad_reward.host import Host, describe
from tetrad_reward.requests import Close, Failed, Grade, Load, Loaded, Open, Opened, Opening, Step, Stepped
from tetrad_wire.messages.episodes import GradeOutcome
from tetrad_wire.messages.leases import ChatMessage, FailureKind

GRADERS = Path(__file__).with_name("graders.py")
PROMPT = (ChatMessage("user", "hi"),)


def a_host(attribute):
    host = Host()
    loaded = host.handle(Load(name="g", reference=f"{GRADERS}:{attribute}"))
    assert isinstance(loaded, Loaded), loaded
    return host


def an_opening(ground_truth="3", **extras):
    return Opening(grader="g", messages=PROMPT, extras={"reward_spec": {"ground_truth": ground_truth}, **extras})


def grade(host, action, **extras):
    return host.handle(Grade(opening=an_opening(**extras), action=action))


def test_an_episode_of_several_turns_runs_to_its_end():
    host = a_host("Countdown")

    opened = host.handle(Open(episode="e", opening=an_opening("2")))
    first = host.handle(Step(episode="e", action="2"))
    second = host.handle(Step(episode="e", action="wrong"))

    assert opened == Opened(messages=(*PROMPT, ChatMessage("user", "Count down from 2.")))
    assert (first.reward, first.is_done, first.observations) == (1.0, False, (ChatMessage("user", "1 left"),))
    assert (second.reward, second.is_done, second.metrics) == (0.0, True, {"tries": 2.0})


def test_a_class_without_init_shows_the_prompt():
    host = Host()
    host.handle(Load(name="g", reference=f"{GRADERS}:Configured", config={"bonus": 1}))

    assert host.handle(Open(episode="e", opening=an_opening())) == Opened(messages=PROMPT)


@pytest.mark.parametrize("action", ["raise", "sys_exit", "allocate", "text", "none", "nan"])
def test_no_reward_is_made_up_where_the_grader_gives_none(action):
    reply = grade(a_host("hostile"), action)

    assert isinstance(reply, Failed)
    assert (reply.outcome, reply.kind) == (GradeOutcome.CRASHED, FailureKind.DATA)
    assert reply.reason


def test_an_exception_is_told_with_its_place():
    reply = grade(a_host("hostile"), "raise")

    assert reply.reason.startswith("RuntimeError: on purpose (graders.py:")


def test_a_prompt_that_breaks_the_environment_is_the_datas_fault():
    reply = a_host("BrokenOnOpen").handle(Open(episode="e", opening=an_opening()))

    assert (reply.outcome, reply.kind) == (GradeOutcome.CRASHED, FailureKind.DATA)
    assert "no such column" in reply.reason


def test_memory_that_ran_out_ends_the_worker():
    host = a_host("hostile")

    grade(host, "allocate")

    assert host.is_exhausted


def test_a_grader_that_changed_meanwhile_is_refused_with_the_reason():
    host = Host()

    refused = host.handle(Load(name="g", reference="gsm8k", version="gsm8k-000000000000"))
    reply = grade(host, "5")

    assert refused.outcome is GradeOutcome.REFUSED
    assert reply == refused
    assert "changed from gsm8k-000000000000" in reply.reason


def test_a_closed_episode_is_gone():
    host = a_host("Countdown")
    host.handle(Open(episode="e", opening=an_opening()))

    host.handle(Close(episodes=("e", "unknown")))

    assert isinstance(host.handle(Step(episode="e", action="3")), Failed)


def test_an_exception_whose_text_raises_is_still_described():
    class Rude(Exception):
        def __str__(self):
            raise ValueError

    assert describe(Rude()) == "Rude"


def test_extras_reach_a_function():
    host = a_host("with_extras")

    reply = grade(host, "", level=2)

    assert isinstance(reply, Stepped)
    assert reply.reward == 3.0


def test_every_rule_of_gsm8k_says_what_it_would_have_paid():
    host = Host()
    host.handle(Load(name="g", reference="gsm8k"))

    reply = grade(host, "The answer is 3.")

    assert (reply.reward, reply.scores) == (0.0, {"strict": 0.0, "boxed": 0.0, "flexible": 1.0})
