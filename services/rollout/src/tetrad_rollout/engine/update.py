"""The second half of a weight update: pause → commit → cache policy → probe → resume, in that order.

And the first half of one without a stage, for which the engine is paused from the start.
"""

import contextlib
from collections.abc import Awaitable, Callable

from tetrad_rollout.engine.errors import DigestMismatchError, WeightStateError
from tetrad_rollout.engine.protocol import CommitReport, Engine, PauseMode, ProbeReport
from tetrad_weights.digest import Bytes
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import Canary, Manifest

Fetch = Callable[[Callable[[Manifest], Bytes]], Awaitable[Manifest]]
"""Fills the buffer that it is given the way to, every digest checked."""


async def overwrite_weights(
    engine: Engine, fetch: Fetch, *, version: PolicyVersion, on_begin: Callable[[], None]
) -> Manifest:
    """Write a version over the live weights, for an engine without room for a stage; then it is to be committed.

    `on_begin` hears of the moment from which nothing may be certified. What fails before that costs nothing; after it
    the engine stays paused until a whole version has come.
    """

    def begin(manifest: Manifest) -> Bytes:
        buffer = engine.begin_in_place(manifest, version=version)
        on_begin()
        return buffer

    await engine.pause(PauseMode.IN_PLACE)
    try:
        manifest = await fetch(begin)
        await engine.verify_stage(digest=manifest.digest, found=manifest.digest)
    except BaseException:
        # Refused once the first byte may have changed.
        with contextlib.suppress(WeightStateError):
            await engine.resume()
        raise
    return manifest


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
