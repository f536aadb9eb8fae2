"""The reward service as a process: registered over a socket, asked over another, killed and drained for real."""

import asyncio
import contextlib
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tetrad_config import RunConfig, dump_resolved
from tetrad_runtime.exits import ExitCode
from tetrad_testing.fuzz import throw_garbage
from tetrad_transport import ZmqTransport
from tetrad_wire.ids import RunId
from tetrad_wire.messages.episodes import (
    CloseEpisodes,
    EpisodesOpened,
    EpisodesRefused,
    EpisodeStepped,
    GradeOutcome,
    OpenEpisodes,
    StepEpisode,
)
from tetrad_wire.messages.leases import ChatMessage
from tetrad_wire.messages.membership import Bye, Desired, Heartbeat, Hello, RunState

GRADERS = Path(__file__).parents[1] / "unit" / "reward" / "graders.py"
PATIENCE_S = 30.0
RUN = RunId("run-under-test")


class Coordinator:
    """As much of one as a reward replica needs: it hears everything and answers with the desired state."""

    def __init__(self, transport, endpoint):
        self.listener = transport.listen(endpoint)
        self.listener.stamp.epoch = 1
        self.listener.stamp.run = RUN
        self.heard = []
        self.should_drain = False
        self.state = RunState.RUNNING
        self.hello = asyncio.get_running_loop().create_future()
        self.bye = asyncio.get_running_loop().create_future()

    async def run(self):
        while True:
            delivery = await self.listener.receive()
            body = delivery.message.body
            self.heard.append(body)
            if isinstance(body, Hello) and not self.hello.done():
                self.hello.set_result(body)
            if isinstance(body, Bye):
                self.bye.set_result(body)
            desired = Desired(generation=1, state=self.state, run=RUN, heartbeat_s=0.1, should_drain=self.should_drain)
            self.listener.send_nowait(delivery.peer, desired)

    def credits(self):
        return {body.credit for body in self.heard if isinstance(body, Heartbeat)}


class Replica:
    """A running reward service, and a connection to it."""

    def __init__(self, process, coordinator, hello, rollout):
        self.process = process
        self.coordinator = coordinator
        self.hello = hello
        self.rollout = rollout

    async def open(self, *episodes, **fields):
        request = OpenEpisodes(
            **{
                "episodes": episodes,
                "env_class": "gsm8k",
                "messages": (ChatMessage("user", "2 + 3?"),),
                "ground_truth": "5",
                "seeds": tuple(range(len(episodes))),
                **fields,
            }
        )
        return await self.rollout.request(request, timeout_s=PATIENCE_S)

    async def step(self, episode, action, turn=0):
        request = StepEpisode(episode=episode, turn=turn, action=action)
        return await self.rollout.request(request, timeout_s=PATIENCE_S)

    async def page(self, name):
        url = self.hello.metrics_url.replace("/metrics", name)

        def fetch():
            try:
                with urllib.request.urlopen(url, timeout=5) as response:
                    return response.status, response.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(fetch)


def write_run(folder, *, env_class="gsm8k", **reward):
    defaults = RunConfig()
    sections = {
        "reward": defaults.reward.model_copy(update=reward),
        "environment": defaults.environment.model_copy(update={"env_class": env_class}),
    }
    config = defaults.model_copy(update=sections)
    (folder / "config.yaml").write_text(dump_resolved(config))


async def start(folder, *flags):
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tetrad_reward", "--run-dir", str(folder), "--log-format", "console"),
        *("--coordinator", f"ipc://{folder}/c", "--bind", f"ipc://{folder}/r", *flags),
        stderr=asyncio.subprocess.PIPE,
    )


@contextlib.asynccontextmanager
async def a_replica(folder, **reward):
    write_run(folder, **{"grade_timeout": 1.0, **reward})
    transport = ZmqTransport()
    coordinator = Coordinator(transport, f"ipc://{folder}/c")
    hearing = asyncio.create_task(coordinator.run())
    process = await start(folder)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait(
                {coordinator.hello, ended := asyncio.ensure_future(process.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            if ended.done():
                pytest.fail((await process.stderr.read()).decode())
            ended.cancel()
            rollout = transport.connect(f"ipc://{folder}/r", name="rollout-0")
            rollout.stamp.run = RUN
            yield Replica(process, coordinator, coordinator.hello.result(), rollout)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        hearing.cancel()
        coordinator.listener.close()
        with contextlib.suppress(UnboundLocalError):
            rollout.close()
        transport.close()


@pytest.fixture
def folder(tmp_path_factory):
    # Short: the name of a socket has 107 bytes.
    return tmp_path_factory.mktemp("r", numbered=True)


async def test_a_group_is_opened_scored_and_closed_over_the_wire(folder):
    async with a_replica(folder) as replica:
        opened = await replica.open("a", "b")
        right = await replica.step("a", "2 + 3 = 5\n#### 5")
        wrong = await replica.step("b", "#### 6")
        again = await replica.step("a", "2 + 3 = 5\n#### 5")
        replica.rollout.send_nowait(CloseEpisodes(episodes=("a", "b")))
        gone = await replica.step("a", "2 + 3 = 5\n#### 5")
        status, metrics = await replica.page("/metrics")
        ready, _ = await replica.page("/readyz")

    assert isinstance(opened, EpisodesOpened)
    assert opened.prompts == ((ChatMessage("user", "2 + 3?"),),)
    assert (right.reward, right.is_done, right.extracted, right.rule) == (1.0, True, "5", "hash")
    assert wrong.reward == 0.0
    assert again == right
    assert gone.outcome is GradeOutcome.REFUSED
    assert (status, ready) == (200, 200)
    assert 'tetrad_reward_samples_total{outcome="scored",reward_fn="gsm8k"} 2.0' in metrics
    assert 'tetrad_reward_workers{state="idle"} 1.0' in metrics


async def test_it_registers_with_what_it_offers(folder):
    async with a_replica(folder) as replica:
        offer = replica.hello.reward
        opened = await replica.open("a")
        await eventually(lambda: offer.credit - 1 in replica.coordinator.credits())

    assert replica.hello.endpoint == f"ipc://{folder}/r"
    versions = {environment.name: environment.grader_version for environment in offer.environments}
    assert set(versions) == {"gsm8k", "arithmetic", "multiply"}
    assert versions["gsm8k"] == opened.grader_version
    assert not offer.serves_any


async def test_a_hostile_reward_function_costs_its_own_grade_only(folder):
    async with a_replica(folder, implementation=f"{GRADERS}:hostile", num_workers=2) as replica:
        names = [f"e{n}" for n in range(12)]
        opened = await replica.open(*names)
        actions = ["loop", "exit", "nan", *["fine"] * 9]
        replies = await asyncio.gather(*map(replica.step, names, actions))
        _, metrics = await replica.page("/metrics")

    assert replica.hello.reward.serves_any
    assert opened.grader_version.startswith("graders.py:hostile-")
    outcomes = [reply.outcome for reply in replies]
    assert outcomes[:3] == [GradeOutcome.TIMEOUT, GradeOutcome.CRASHED, GradeOutcome.CRASHED]
    assert [reply.reward for reply in replies[:3]] == [None] * 3
    assert {reply.reward for reply in replies[3:]} == {1.0}
    assert 'reason="timeout",reward_fn="graders.py:hostile"} 1.0' in metrics


async def test_a_multi_turn_episode_survives_the_death_of_its_worker(folder):
    async with a_replica(folder, implementation=f"{GRADERS}:Countdown") as replica:
        await replica.open("a", ground_truth="3")
        await replica.step("a", "3")
        killed = children_of(replica.process.pid)
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        # A turn that meets a dying worker is crashed for good reason; this one meets its successor.
        async with asyncio.timeout(20):
            while set(killed) & set(children_of(replica.process.pid)):  # noqa: ASYNC110 - /proc raises no event
                await asyncio.sleep(0.02)
        reply = await replica.step("a", "2", turn=1)

    assert isinstance(reply, EpisodeStepped)
    assert (reply.outcome, reply.reward, reply.is_done) == (GradeOutcome.OK, 1.0, False)


async def test_garbage_is_counted_and_dropped(folder):
    async with a_replica(folder) as replica:
        thrown = await asyncio.to_thread(throw_garbage, f"ipc://{folder}/r", 300, 7)
        opened = await replica.open("a")
        reply = await replica.step("a", "#### 5")
        _, metrics = await replica.page("/metrics")

    assert thrown.total() > 300
    assert isinstance(opened, EpisodesOpened)
    assert reply.reward == 1.0
    lines = [line for line in metrics.splitlines() if line.startswith("tetrad_zmq_decode_failures_total{")]
    assert sum(float(line.split()[-1]) for line in lines) > 100


async def test_sigterm_finishes_what_is_under_way_and_takes_nothing_new(folder):
    async with a_replica(folder) as replica:
        await replica.open("a")
        replica.process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            while not isinstance(refused := await replica.open("new"), EpisodesRefused):
                replica.rollout.send_nowait(CloseEpisodes(episodes=("new",)))
        reply = await replica.step("a", "#### 5")
        code = await replica.process.wait()
        await replica.coordinator.bye

    assert "draining" in refused.reason
    assert reply.reward == 1.0
    assert code == 0


@pytest.mark.parametrize("how", ["drain", "end"])
async def test_the_coordinator_sends_it_home(folder, how):
    async with a_replica(folder) as replica:
        if how == "drain":
            replica.coordinator.should_drain = True
        else:
            replica.coordinator.state = RunState.ENDED

        assert await replica.process.wait() == 0
        assert (await replica.coordinator.bye).reason == "drained"


async def test_no_worker_outlives_a_replica_that_was_killed(folder):
    async with a_replica(folder, implementation=f"{GRADERS}:hostile", grade_timeout=60.0) as replica:
        await replica.open("a")
        hung = asyncio.create_task(replica.step("a", "loop"))
        workers = children_of(replica.process.pid)
        await eventually(lambda: any(map(is_busy, workers)))
        replica.process.kill()
        await replica.process.wait()
        hung.cancel()
        await eventually(lambda: not any(map(is_running, workers)))

    assert workers


async def test_a_grader_that_cannot_be_had_is_the_configurations_fault(folder):
    write_run(folder, implementation=f"{GRADERS}:hostel")

    process = await start(folder)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)

    assert process.returncode == 78
    assert "did you mean 'hostile'" in errors.decode()


@pytest.mark.parametrize(
    ("implementation", "code", "text"), [(None, 0, ""), (f"{GRADERS}:hostel", 78, "did you mean 'hostile'")]
)
async def test_check_tries_the_graders_without_a_socket(folder, implementation, code, text):
    write_run(folder, implementation=implementation)

    process = await start(folder, "--check")
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)

    assert process.returncode == code
    assert text in errors.decode()
    assert not (folder / "r").exists()


@pytest.mark.parametrize("flags", [(), ("--check",)], ids=["serve", "check"])
async def test_programs_are_not_graded_where_no_sandbox_can_be_had(folder, flags, monkeypatch):
    # As in a container whose host forbids user namespaces.
    bwrap = folder / "bin" / "bwrap"
    bwrap.parent.mkdir()
    bwrap.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    bwrap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bwrap.parent}:{os.environ['PATH']}")
    write_run(folder, env_class="code")

    process = await start(folder, *flags)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)

    assert process.returncode == ExitCode.CONFIG
    assert "No permissions to create new namespace" in errors.decode()
    assert "user namespaces may be forbidden" in errors.decode()


async def test_a_taken_endpoint_is_the_machines_fault(folder):
    async with a_replica(folder):
        # A second one with other neighbours, on the same socket.
        other = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tetrad_reward", "--run-dir", str(folder), "--log-format", "console"),
            *("--coordinator", f"ipc://{folder}/c", "--bind", "ipc:///no/such/folder/r"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(other.communicate(), PATIENCE_S)

    assert other.returncode == 72
    assert "cannot bind" in errors.decode()


async def eventually(is_so):
    """Wait for what no event tells."""
    for _ in range(int(PATIENCE_S / 0.02)):
        if is_so():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not so within {PATIENCE_S} s")


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_busy(pid):
    """Whether it has used the processor for longer than a start takes."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > 1.5
