"""What one engine knows of its weights, and the only place that changes them.

Owns the two flat buffers, the weight status and the results of earlier probes; binds the runner. Methods run on
the engine thread in between two forwards, but those of the stage, which may run beside a forward: a lock keeps
status and buffers of one mind. Must not know requests.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.errors import DigestMismatchError, ProbeFailedError, WeightStateError
from tetrad_rollout.engine.flat_weights import DigestFunction, FlatWeights
from tetrad_rollout.engine.probes import ProbeMemory, probe_tokens
from tetrad_rollout.engine.protocol import CachePolicy, CommitReport, ProbeReport, WeightLayout
from tetrad_rollout.engine.runner import Runner
from tetrad_rollout.engine.weight_state import UNVERSIONED, WeightEvent, WeightState, WeightStatus, step
from tetrad_weights.digest import Bytes
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import Canary

_IN_STAGE: Final = frozenset({WeightState.STAGING, WeightState.STAGED, WeightState.PAUSED, WeightState.REPLACING})
# What the host needs beside a stage in the next moment.
MARGIN_BYTES: Final = 64 << 20


class LiveWeights:
    """The weights of one engine and how they are replaced."""

    def __init__(self, runner: Runner, *, digest: DigestFunction, free_bytes: Callable[[], int]) -> None:
        self._runner = runner
        self._free_bytes = free_bytes
        self._flat = FlatWeights(runner.layout, digest=digest)
        self._lock = threading.Lock()
        self._stages_begun = 0
        self._probes = ProbeMemory(dtype=runner.layout.tensors[0].dtype)
        self._is_unproven = False
        self.status = WeightStatus()
        runner.copy_parameters(self._flat.live)
        runner.bind(self._flat.live, self._flat.live_layout)

    # -- the stage, beside the forwards ------------------------------------------------------------------------

    def begin(self, layout: WeightLayout, version: PolicyVersion) -> Bytes:
        """The stage buffer, for the caller to fill."""
        with self._lock:
            after = step(self.status, WeightEvent.BEGIN_STAGE, version=version)
            buffer = self._flat.begin_stage(layout)
            self.status = after
            self._stages_begun += 1
        return buffer

    def stage_shortage(self) -> int:
        """Bytes that lack for a stage beside the live weights; 0 where there is room."""
        needed = self._flat.needed_to_stage
        return max(0, needed + MARGIN_BYTES - self._free_bytes()) if needed else 0

    def begin_in_place(self, layout: WeightLayout, version: PolicyVersion) -> Bytes:
        """The live buffer itself, for the caller to fill while no forward runs."""
        with self._lock:
            after = step(self.status, WeightEvent.BEGIN_IN_PLACE, version=version)
            buffer = self._flat.begin_in_place(layout)
            self.status, self._is_unproven = after, True
            self._stages_begun += 1
        return buffer

    def seal(self) -> int:
        """Close the stage for writing; a ticket for `verified`."""
        with self._lock:
            step(self.status, WeightEvent.VERIFY)
            self._flat.seal_stage()
            return self._stages_begun

    def staged_digest(self) -> str:
        """Of the sealed stage."""
        return self._flat.staged_digest()

    # -- in between two forwards -------------------------------------------------------------------------------

    def verified(self, ticket: int, *, digest: str, expected: str, is_paused: bool) -> None:
        """Take note of the digest that the sealed stage turned out to have."""
        with self._lock:
            if ticket != self._stages_begun:
                raise WeightStateError("another stage was begun while this one was being verified: it is superseded")
            version, is_equal = self.status.staged_version, digest == expected
            self.status = step(self.status, WeightEvent.VERIFY if is_equal else WeightEvent.FAIL, digest=digest)
        if not is_equal:
            raise DigestMismatchError(f"version {version} arrived with digest {digest}; its manifest says {expected}")
        if is_paused:
            self.pause()

    def pause(self) -> None:
        """The engine has stopped at a token boundary."""
        with self._lock:
            if self.status.state is WeightState.STAGED:
                self.status = step(self.status, WeightEvent.PAUSE)

    def resume(self) -> None:
        """The engine is about to generate again; refused in between a commit and a passed probe."""
        with self._lock:
            if self._is_unproven:
                raise WeightStateError(f"{_unproven(self.status)}; call probe() before resume()")
            if self.status.state is WeightState.PAUSED:
                self.status = step(self.status, WeightEvent.RESUME)

    def commit(self, *, version: PolicyVersion, digest: str) -> None:
        """Swap the buffers and bind the model to the new one.

        Raises:
            WeightStateError, DigestMismatchError: and nothing has changed.
        """
        with self._lock:
            after = step(self.status, WeightEvent.COMMIT)
            staged = (self.status.staged_version, self.status.staged_digest)
            if staged != (version, digest):
                raise DigestMismatchError(f"asked to commit version {version} ({digest}); staged is {staged}")
            self._flat.swap()
            self.status, self._is_unproven = after, True
        try:
            self._runner.bind(self._flat.live, self._flat.live_layout)
        except BaseException:
            self._fail()
            raise

    def probe(self, canary: Canary | None) -> ProbeReport:
        """Forward fixed tokens; certify the live version when the result is what its bytes imply."""
        with self._lock:
            step(self.status, WeightEvent.CERTIFY)
        try:
            logprobs = self._probe(canary)
        except BaseException:
            self._fail()
            raise
        with self._lock:
            self._is_unproven = False
            # A certified engine may have begun its next stage in the meantime; it stays certified.
            if self.status.state is WeightState.COMMITTED:
                self.status = step(self.status, WeightEvent.CERTIFY)
            return ProbeReport(version=self.status.live_version, logprobs=logprobs)

    def _probe(self, canary: Canary | None) -> npt.NDArray[np.float32]:
        if not self._runner.is_bound_to(self._flat.live):
            raise ProbeFailedError("a parameter of the model does not read the committed buffer")
        logprobs = self._runner.probe(probe_tokens(canary, self._runner.vocab_size))
        self._probes.check(logprobs, digest=self.status.live_digest, canary=canary)
        return logprobs

    def wake(self) -> None:
        """What slept must be probed again."""
        with self._lock:
            self.status = step(self.status, WeightEvent.WAKE)

    def release_stage(self) -> None:
        """Give the stage buffer's memory back; what was staged and not committed is lost."""
        with self._lock:
            if self.status.state in _IN_STAGE:
                self.status = step(self.status, WeightEvent.FAIL)
            self._flat.release_stage()

    def live_digest(self) -> str:
        """Of the bytes that the model reads now."""
        return self._flat.live_digest()

    def _fail(self) -> None:
        with self._lock:
            self.status = step(self.status, WeightEvent.FAIL)


def _unproven(status: WeightStatus) -> str:
    if status.live_version == UNVERSIONED:
        return f"version {status.staged_version} was written over the live weights and is not committed and proven"
    return f"version {status.live_version} is committed and not proven"


def commit_report(status: WeightStatus, *, is_idle: bool, spans_cut: int, started: float) -> CommitReport:
    """What a commit that began at `started` (perf_counter seconds) did."""
    return CommitReport(
        version=status.live_version,
        digest=status.live_digest,
        cache_policy=CachePolicy.FLUSH if is_idle else CachePolicy.KEEP,
        spans_cut=spans_cut,
        seconds=time.perf_counter() - started,
    )
