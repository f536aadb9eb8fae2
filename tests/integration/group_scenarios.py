"""What becomes of weights by collectives when processes die, freeze or differ; the same over gloo and over NCCL.

A `Place` says where versions lie and where engines are; everything else is real processes and their logs.
"""

import asyncio
import json
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from integration.weight_site import LARGE, SOON_S, Engine, Site, until

from tetrad_learner.publishing import Published
from tetrad_weights.group_sides import FORCED

QUICK_S = 72.0
"""A sync's time where something freezes. A third of it is what a group may take; in all of it a process loads torch."""


IN_THE_MIDDLE = re.compile(r"memory|bucket \d+ of \d+")
"""Where a transfer may be that was offered and is not over."""


class Place(Protocol):
    """Memory of the learner and of the engines."""

    site: Site

    async def start(
        self,
        name: str,
        *,
        transports: str = "nccl",
        timeout_s: float = SOON_S,
        variables: Mapping[str, str] | None = None,
    ) -> Engine:
        """Start an engine."""
        ...

    async def publish(self, version: int) -> Published:
        """Publish a version of LARGE."""
        ...


class HostPlace:
    """Everything in host memory: groups are gloo's."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def start(
        self,
        name: str,
        *,
        transports: str = "nccl",
        timeout_s: float = SOON_S,
        variables: Mapping[str, str] | None = None,
    ) -> Engine:
        return await self.site.start_engine(name, transports=transports, timeout_s=timeout_s, variables=variables)

    async def publish(self, version: int) -> Published:
        return await self.site.publish(version)


def children_of(pid: int, program: str) -> list[int]:
    """Processes of a program whose parent is `pid`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid and f"groups.{program}".encode() in command:
            found.append(int(entry.name))
    return found


def receiver_of(engine: Engine) -> int:
    (pid,) = children_of(engine.process.pid, "receiver")
    return pid


def events(site: Site, event: str, name: str = "", **fields: str) -> list[dict[str, object]]:
    """Lines of the broadcaster's log, or of an engine's, that say so."""
    lines = [json.loads(line) for line in site.log(name).splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event and fields.items() <= line.items()]


def sender_of(site: Site, replica: str) -> int:
    return int(str(events(site, "group_formed", replica=replica)[-1]["pid"]))


async def offered(site: Site, version: int, replica: str) -> None:
    def is_offered() -> bool:
        return any(line["version"] == version for line in events(site, "version_offered", replica=replica))

    await until(is_offered, f"version {version} was offered to {replica}")


async def fetched(engine: Engine, version: int) -> list[str]:
    """Digest and transport of what it was ordered to fetch."""
    await engine.hears(f"staging {version}")
    return (await engine.hears(f"fetched {version}")).split()[2:]


async def killed_receiver(place: Place) -> None:
    site = place.site
    one, other = [await place.start(name) for name in ("rollout-0", "rollout-1")]
    first = await place.publish(1)
    assert await asyncio.gather(one.fetch(1), other.fetch(1)) == [first.digest] * 2

    second = await place.publish(2)
    os.kill(sender_of(site, "rollout-0"), signal.SIGSTOP)
    one.order(2)
    await offered(site, 2, "rollout-0")
    os.kill(receiver_of(one), signal.SIGKILL)
    assert await other.fetch(2) == second.digest
    assert await fetched(one, 2) == [second.digest, "nccl"]

    (broken,) = events(site, "group_broken", "rollout-0")
    assert IN_THE_MIDDLE.fullmatch(str(broken["at"])), broken
    assert "ended" in str(broken["reason"])
    (chosen,) = events(site, "transport_chosen", "rollout-1")
    assert chosen["because"] == "a process group with the broadcaster was proved"
    assert len(events(site, "group_formed", replica="rollout-1")) == 1
    assert await site.metric('tetrad_broadcast_bytes_total{transport="nccl"}') == 4 * LARGE.num_bytes
    assert await site.metric('tetrad_broadcast_link_bandwidth_bytes{replica="rollout-1"}') > 1e6
    assert await site.metric("tetrad_broadcast_groups") == 2


DIFFERENT = (("NCCL_PROTO", "LL"), ("NCCL_P2P_DISABLE", "1"))
"""Variables that steer a collective, each of which one side alone has set."""


async def wrong_environment(place: Place, name: str, value: str) -> None:
    site = place.site
    published = await place.publish(1)
    wrong = {name: value}
    stubborn = await place.start("rollout-0", variables=wrong)
    flexible = await place.start("rollout-1", transports="nccl,socket", variables=wrong)

    stubborn.order(1)
    flexible.order(1)

    named = f"{name} is unset at the sender and {value} at the receiver"
    assert named in await stubborn.hears("failed 1 GroupUnusableError")
    assert await fetched(flexible, 1) == [published.digest, "socket"]
    assert named in str(events(site, "transport_chosen", "rollout-1")[0]["passed_over"])
    assert len(events(site, "group_refused")) == 2


async def overridden_environment(place: Place) -> None:
    """What would break the first broadcast is not obeyed on the side that has it, and that side says so."""
    site = place.site
    published = await place.publish(1)
    engine = await place.start("rollout-0", variables=dict.fromkeys(FORCED, "1"))

    engine.order(1)

    assert await fetched(engine, 1) == [published.digest, "nccl"]
    said = {
        str(line["variable"]): (line["value"], line["ours"])
        for line in events(site, "variable_overridden", "rollout-0")
    }
    assert said == dict.fromkeys(FORCED, ("1", "0"))
    assert events(site, "group_refused") == []


async def killed_sender(place: Place) -> None:
    site = place.site
    engine, other = [await place.start(name) for name in ("rollout-0", "rollout-1")]
    first = await place.publish(1)
    assert await asyncio.gather(engine.fetch(1), other.fetch(1)) == [first.digest] * 2

    second = await place.publish(2)
    # Frozen, it takes so little that the sender is still at it.
    os.kill(receiver_of(engine), signal.SIGSTOP)
    engine.order(2)
    await offered(site, 2, "rollout-0")
    os.kill(sender_of(site, "rollout-0"), signal.SIGKILL)

    assert await other.fetch(2) == second.digest
    assert await fetched(engine, 2) == [second.digest, "nccl"]
    (broken,) = events(site, "group_broken", replica="rollout-0")
    assert IN_THE_MIDDLE.fullmatch(str(broken["at"])), broken
    assert len(children_of(engine.process.pid, "receiver")) == 1


async def frozen_side(place: Place, frozen: str) -> None:
    site = place.site
    engine, other = [await place.start(name, timeout_s=QUICK_S) for name in ("rollout-0", "rollout-1")]
    first = await place.publish(1)
    assert await asyncio.gather(engine.fetch(1), other.fetch(1)) == [first.digest] * 2
    pid = sender_of(site, "rollout-0") if frozen == "sender" else receiver_of(engine)

    os.kill(pid, signal.SIGSTOP)
    engine.order(2)
    second = await place.publish(2)
    assert await other.fetch(2) == second.digest
    third = await place.publish(3)
    assert await other.fetch(3) == third.digest

    assert not [line for line in events(site, "version_fetched", "rollout-0") if line["version"] == 2]
    assert await fetched(engine, 2) == [second.digest, "nccl"]
    broken = events(site, "group_broken", "rollout-0")[-1]
    assert IN_THE_MIDDLE.fullmatch(str(broken["at"])), broken
    # A third of the sync's time, less what was over when the order was given.
    found = re.search(r"no answer within ([\d.]+) s; killed", str(broken["reason"]))
    assert found is not None, broken
    assert QUICK_S / 4 < float(found[1]) <= QUICK_S / 3
    await until(lambda: not Path(f"/proc/{pid}").exists(), "the frozen one is gone")


async def killed_engine(place: Place) -> None:
    site = place.site
    engine, other = [await place.start(name) for name in ("rollout-0", "rollout-1")]
    first = await place.publish(1)
    assert await asyncio.gather(engine.fetch(1), other.fetch(1)) == [first.digest] * 2
    sender, receiver = sender_of(site, "rollout-0"), receiver_of(engine)

    os.kill(receiver, signal.SIGSTOP)
    await place.publish(2)
    engine.order(2)
    await offered(site, 2, "rollout-0")
    engine.process.kill()

    for version in (3, 4):
        published = await place.publish(version)
        assert await other.fetch(version) == published.digest
    await until(lambda: events(site, "consumer_died", replica="rollout-0"), "its death was seen")
    for pid in (sender, receiver):
        await until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "its processes are gone")
    late = await place.start("rollout-2")
    assert await late.fetch(4) == published.digest


async def frozen_engine(place: Place) -> None:
    site = place.site
    frozen, other = [await place.start(name) for name in ("rollout-0", "rollout-1")]
    first = await place.publish(1)
    assert await asyncio.gather(frozen.fetch(1), other.fetch(1)) == [first.digest] * 2

    await place.publish(2)
    for pid in (receiver_of(frozen), frozen.process.pid):
        os.kill(pid, signal.SIGSTOP)
    frozen.order(2)
    frozen.process.send_signal(signal.SIGCONT)
    await offered(site, 2, "rollout-0")
    frozen.process.send_signal(signal.SIGSTOP)
    published = await place.publish(3)
    assert await other.fetch(3) == published.digest
    await until(lambda: events(site, "consumer_quarantined", replica="rollout-0"), "it was silent for too long")

    frozen.goes_on()
    assert (await fetched(frozen, 2))[1] == "nccl"
    assert await frozen.fetch(3) == published.digest


async def new_broadcaster(place: Place) -> None:
    site = place.site
    engine = await place.start("rollout-0")
    first = await place.publish(1)
    assert await engine.fetch(1) == first.digest
    sender = sender_of(site, "rollout-0")

    assert site.broadcaster is not None
    site.broadcaster.kill()
    await asyncio.wait_for(site.broadcaster.wait(), SOON_S)
    await until(lambda: not Path(f"/proc/{sender}").exists(), "its sender has gone with it")
    await site.start_broadcaster()
    await site.publisher.republish(first.version)

    assert await engine.fetch(1) == first.digest
