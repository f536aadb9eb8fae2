"""When a set of ranks must be given up."""

import asyncio
import sys

from tetrad_learner.coordinator.rank_set import WRITE_TIMEOUT_S, RankSet


async def a_set() -> RankSet:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; sys.stdin.read()", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    return RankSet("set", 1, process, started_at=0.0, peers={0: b"rank-0"}, writing_since=100.0)


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
