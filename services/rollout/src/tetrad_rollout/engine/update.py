"""The second half of a weight update: pause → commit → cache policy → probe → resume, in that order."""

from tetrad_rollout.engine.errors import DigestMismatchError, WeightStateError
from tetrad_rollout.engine.protocol import CommitReport, Engine, PauseMode, ProbeReport
from tetrad_wire.ids import PolicyVersion


async def switch_weights(engine: Engine, *, version: PolicyVersion, digest: str) -> tuple[CommitReport, ProbeReport]:
    """Make the verified stage live while requests are in flight; what it answers may be certified.

    A commit that is refused leaves the old weights serving. After a failed probe the engine stays paused and
    quarantined: it must be staged again before it may generate. Wrap in `asyncio.timeout` to bound it; when
    that expires the engine is left paused, because nobody knows which weights it has.
    """
    await engine.pause(PauseMode.IN_PLACE)
    try:
        report = await engine.commit(version=version, digest=digest)
    except (DigestMismatchError, WeightStateError):
        await engine.resume()
        raise
    probe = await engine.probe()
    await engine.resume()
    return report, probe
