"""When a set of ranks must be given up."""

import asyncio
import sys

from tetrad_learner.coordinator.rank_set import FROZEN_S, WRITE_TIMEOUT_S, RankSet
from tetrad_testing.builders import a_heartbeat
from tetrad_wire.ids import Incarnation


async def a_set() -> RankSet:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; sys.stdin.read()", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    return RankSet(Incarnation("set"), 1, process, started_at=0.0, peers={0: b"rank-0"}, writing_since=100.0)


def a_beat(activity: str, seconds: float):
    return a_heartbeat(activity=activity, activity_s=seconds, certificate=None, leases=())


async def test_ranks_that_write_a_checkpoint_for_too_long_are_given_up() -> None:
    ranks = await a_set()
    try:
        in_time = ranks.fault(100.0 + WRITE_TIMEOUT_S, silence_s=60.0)
        too_late = ranks.fault(101.0 + WRITE_TIMEOUT_S, silence_s=60.0)
        ranks.writing_since = None
        done = ranks.fault(101.0 + WRITE_TIMEOUT_S, silence_s=60.0)
    finally:
        await ranks.kill()

    assert (in_time, done) == (None, None)
    assert too_late == f"the checkpoint was not written within {WRITE_TIMEOUT_S:g} s"


async def test_silence_says_which_rank_does_what_for_how_long_and_who_waits_for_whom() -> None:
    ranks = await a_set()
    ranks.writing_since, ranks.is_busy, ranks.world_size = None, True, 3
    ranks.peers |= {1: b"rank-1", 2: b"rank-2"}
    ranks.heard_at = 20.0
    try:
        ranks.note(0, a_beat("executing step 3 after micro-batch 2", 70.0), 90.0)
        ranks.note(1, a_beat("executing step 3", 80.0), 90.0)
        said = ranks.fault(90.0, silence_s=60.0)
    finally:
        await ranks.kill()

    assert said == (
        "no progress from the ranks for 70 s; the limit is 60 s; rank 1: executing step 3 for 80 s; "
        "rank 0: executing step 3 after micro-batch 2 for 70 s; rank 2: nothing heard"
    )


async def test_a_rank_that_is_frozen_is_named_long_before_its_work_is_missed() -> None:
    ranks = await a_set()
    ranks.writing_since = None
    try:
        ranks.note(0, a_beat("executing step 3", 1.0), 100.0)
        in_time = ranks.fault(100.0 + FROZEN_S, silence_s=600.0)
        too_late = ranks.fault(101.0 + FROZEN_S, silence_s=600.0)
        ranks.forgive(5.0)
        forgiven = ranks.fault(101.0 + FROZEN_S, silence_s=600.0)
    finally:
        await ranks.kill()

    assert (in_time, forgiven) == (None, None)
    assert too_late == f"rank 0 has not been heard for {FROZEN_S:g} s: it is frozen, or its host is cut off"


async def test_only_ranks_of_this_host_are_signalled_by_pid() -> None:
    ranks = await a_set()
    try:
        ranks.world_size, ranks.ranks_per_host, ranks.pids = 4, 2, {0: 10, 1: 11, 2: 10, 3: 12}
    finally:
        await ranks.kill()

    assert ranks.local_pids == [10, 11]
