"""The second half of a weight update: pause → commit → cache policy → probe → resume, in that order."""

from tetrad_rollout.engine.errors import DigestMismatchError, WeightStateError
from tetrad_rollout.engine.protocol import CommitReport, Engine, PauseMode, ProbeReport
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import Canary


async def switch_weights(engine: Engine, *, version: PolicyVersion, digest: str) -> tuple[CommitReport, ProbeReport]:
    """Make the verified stage live while requests are in flight; what it answers may be certified.

    A commit that is refused leaves the old weights serving. After a failed probe the engine stays paused and
    quarantined: it must be staged again before it may generate. Wrap in `asyncio.timeout` to bound it; when
    that expires the engine is left paused, because nobody knows which weights it has.
    """
    report = await commit_weights(engine, version=version, digest=digest)
    return report, await prove_weights(engine)


async def commit_weights(engine: Engine, *, version: PolicyVersion, digest: str) -> CommitReport:
    """The first part: make the verified stage live. The engine stays paused until its weights are proven."""
    await engine.pause(PauseMode.IN_PLACE)
    try:
        return await engine.commit(version=version, digest=digest)
    except (DigestMismatchError, WeightStateError):
        await engine.resume()
        raise


async def prove_weights(engine: Engine, canary: Canary | None = None) -> ProbeReport:
    """The second part: compute with what is committed, and as the learner does, then generate again."""
    probe = await engine.probe(canary)
    await engine.resume()
    return probe
