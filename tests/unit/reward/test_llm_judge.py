"""A judge behind HTTP, against a real server: verdicts, retries, bounds, and what must never become a reward."""

import asyncio
import socket
import threading

import pytest
from unit.reward.judge_server import a_judge_server, completion, verdict

from tetrad_reward.environments.llm_judge import KEY_VARIABLE, LlmJudge, verdict_in
from tetrad_reward.grade_failure import GradeFailureError
from tetrad_reward.metrics import RewardMetrics
from tetrad_reward.requests import Failed, Loaded, Opening
from tetrad_reward.supply import WorkerLimits
from tetrad_reward.workers import Workers, WorkersStatistics
from tetrad_telemetry.metrics import Metrics
from tetrad_testing.builders import a_grade
from tetrad_transport.statistics import ChannelStatistics
from tetrad_wire.messages.episodes import GradeOutcome
from tetrad_wire.messages.leases import ChatMessage, FailureKind

KEY = "sk-secret-of-the-test"
BUSY = (429, {"Retry-After": "0.05"}, "slow down")


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture
def server():
    with a_judge_server() as server:
        yield server


def judged(server, response="It is 4.", **settings):
    environment = LlmJudge({"base_url": server.url, "timeout": 5.0, **settings}, {"reward_spec": {"ground_truth": "4"}})
    environment.init([{"role": "user", "content": "2 + 2?"}])
    return environment.step(response)["reward"]


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("### Final Score: 1", 1.0),
        ("Fine.\n### Final Score: 0", 0.0),
        ("**Final Score: 0.5**", 0.5),
        ("He wrote:\n### Final Score: 1\nwhich is not so.\n### Final Score: 0", 0.0),
        (" 1 ", 1.0),
        ("0.25", 0.25),
        ("### Final Score: 1.5", None),
        ("### Final Score: 7", None),
        ("the final score: 1 would be too much", None),
        ("", None),
        ("yes", None),
        ("Final Score: " + "1" * 100_000, None),
        ("#" * 100_000, None),
    ],
)
def test_a_verdict_is_a_number_from_0_to_1_on_a_line_of_its_own(reply, score):
    assert verdict_in(reply) == score


def test_the_judge_is_asked_as_openai_would_be(server):
    assert judged(server, model="m") == 1.0

    path, headers, body = server.requests[0]
    assert (path, headers["Authorization"], body["model"]) == ("/v1/chat/completions", f"Bearer {KEY}", "m")
    (message,) = body["messages"]
    assert all(text in message["content"] for text in ("2 + 2?", "[GOLD SOLUTION]\n4\n", "It is 4."))


def test_a_prompt_of_ones_own_is_filled_in_once(server):
    judged(server, response="{ground_truth}", prompt="{response} against {ground_truth}")

    assert server.requests[0][2]["messages"][0]["content"] == "{ground_truth} against 4"


def test_a_busy_server_is_asked_again(server):
    server.answers = [BUSY, (503, {}, "down"), verdict(0)]

    assert judged(server) == 0.0
    assert len(server.requests) == 3


def test_a_reply_without_a_verdict_is_asked_for_again_and_then_refused(server):
    server.answers = [completion("well")]

    with pytest.raises(GradeFailureError, match="no verdict: 'well'") as failure:
        judged(server)

    assert (failure.value.outcome, failure.value.kind) == (GradeOutcome.REFUSED, FailureKind.DATA)
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", ["no json", "{}", '{"choices": []}', '{"choices": [{"message": {"content": null}}]}'])
def test_a_reply_that_is_no_completion_is_no_reward(server, body):
    server.answers = [(200, {}, body)]

    with pytest.raises(GradeFailureError, match=r"no verdict within 0\.5 s") as failure:
        judged(server, timeout=0.5)

    assert (failure.value.outcome, failure.value.kind) == (GradeOutcome.TIMEOUT, FailureKind.INFRA)


def test_a_refusal_is_not_repeated_and_does_not_show_the_key(server):
    server.answers = [(401, {}, f"Incorrect API key provided: {KEY}")]

    with pytest.raises(GradeFailureError, match=r"HTTP 401: Incorrect API key provided: \*\*\*") as failure:
        judged(server)

    assert KEY not in str(failure.value)
    assert len(server.requests) == 1


def test_a_redirect_does_not_carry_the_key_away(server):
    with a_judge_server() as thief:
        server.answers = [(307, {"Location": f"{thief.url}/chat/completions"}, "")]

        with pytest.raises(GradeFailureError, match="HTTP 307"):
            judged(server)

        assert thief.requests == []


def test_a_server_that_is_silent_costs_its_timeout(server):
    server.hold.clear()

    with pytest.raises(GradeFailureError, match=r"no verdict within 0\.3 s"):
        judged(server, timeout=0.3)


def test_a_server_that_is_not_there_is_infra():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        environment = LlmJudge({"base_url": url, "timeout": 0.5}, {})

        with pytest.raises(GradeFailureError, match="refused") as failure:
            environment.step("x")

    assert failure.value.kind is FailureKind.INFRA


def test_equal_responses_are_judged_once(server):
    server.answers = [verdict(1), verdict(0)]

    assert [judged(server), judged(server), judged(server, response="other")] == [1.0, 1.0, 0.0]


def test_calls_under_way_are_bounded(server):
    server.hold.clear()
    askers = [
        threading.Thread(target=judged, args=(server, f"answer {n}"), kwargs={"max_concurrency": 2}) for n in range(5)
    ]
    for asker in askers:
        asker.start()
    server.hold.set()
    for asker in askers:
        asker.join(20)

    assert len(server.requests) == 5
    assert server.most_under_way <= 2


def test_openais_server_needs_a_key(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE)

    with pytest.raises(ValueError, match=f"needs a key; set {KEY_VARIABLE}"):
        LlmJudge.prepare_grader({})
    LlmJudge.prepare_grader({"base_url": "http://127.0.0.1:1/v1"})


async def test_a_failed_verdict_has_its_outcome_through_a_worker(server):
    server.answers = [completion("well")]
    config = {"base_url": server.url, "timeout": 5.0}
    opening = Opening(
        grader="j", messages=(ChatMessage("user", "2 + 2?"),), extras={"reward_spec": {"ground_truth": "4"}}
    )
    async with Workers(num_workers=1, limits=WorkerLimits(deadline_s=20.0)) as workers:
        loaded = await workers.load("j", reference="llm_as_a_judge", config=config)
        failed = await workers.grade(opening, "4")
        server.answers = [verdict(1)]
        scored = await asyncio.wait_for(workers.grade(opening, "4"), 20)

    assert isinstance(loaded, Loaded)
    assert isinstance(failed, Failed)
    assert (failed.outcome, failed.kind) == (GradeOutcome.REFUSED, FailureKind.DATA)
    assert scored.reward == 1.0


async def test_what_a_verdict_costs_is_told_by_its_worker_and_stands_among_the_metrics(server):
    usage = {"prompt_tokens": 120, "completion_tokens": 7}
    server.answers = [completion("well", usage=usage), completion("### Final Score: 1", usage=usage)]
    opening = Opening(grader="j", messages=(ChatMessage("user", "2 + 2?"),), extras={})
    async with Workers(num_workers=1, limits=WorkerLimits(deadline_s=20.0)) as workers:
        await workers.load("j", reference="llm_as_a_judge", config={"base_url": server.url, "timeout": 5.0})
        scored = await workers.grade(opening, "4")
        remembered = await workers.grade(opening, "4")
    metrics = RewardMetrics(Metrics("reward", version="0"))

    for grade in (scored, remembered):
        metrics.observe("judge-1", a_grade(reward=grade.reward, metrics=grade.metrics))

    idle = WorkersStatistics(busy=0, idle=1, spare=0, starting=0, waiting=0, deaths=0, replayed=0)
    page = metrics.page(workers=idle, episodes=0, queued=0, channel=ChannelStatistics()).decode()
    assert (scored.metrics["judge_calls"], remembered.metrics["judge_calls"]) == (2.0, 0.0)
    assert 0.0 < scored.metrics["judge_seconds"] < 20.0
    assert 'tetrad_reward_judge_calls_total{reward_fn="judge"} 2.0' in page
    assert 'tetrad_reward_judge_tokens_total{kind="input",reward_fn="judge"} 240.0' in page
    assert 'tetrad_reward_judge_tokens_total{kind="output",reward_fn="judge"} 14.0' in page
    assert 'tetrad_reward_judge_duration_seconds_count{reward_fn="judge"} 1.0' in page


@pytest.mark.parametrize(
    "usage", [None, "many", {"prompt_tokens": "7"}, {"prompt_tokens": -1}, {"prompt_tokens": 1e99}]
)
def test_a_server_that_does_not_count_costs_no_grade(server, usage):
    server.answers = [completion("### Final Score: 1", usage=usage)]

    assert judged(server) == 1.0
