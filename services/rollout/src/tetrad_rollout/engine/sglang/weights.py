"""What the engine knows of the server's weights, and the only place that changes them.

Owns the stage, the weight status and the results of earlier probes. All on the event loop. The server must be
idle between `pause` and `resume`; that is the engine's business.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tetrad_devices.facts import uuid_of
from tetrad_rollout.engine.catalog import EngineSettings
from tetrad_rollout.engine.errors import DigestMismatchError, LayoutError, ProbeFailedError, WeightStateError
from tetrad_rollout.engine.flat_weights import check_fits
from tetrad_rollout.engine.probes import ProbeMemory, probe_tokens
from tetrad_rollout.engine.protocol import CachePolicy, CommitReport, ProbeReport, WeightLayout
from tetrad_rollout.engine.sglang.adapters import check_adapters, server_config
from tetrad_rollout.engine.sglang.device_copier import DeviceCopier
from tetrad_rollout.engine.sglang.self_test import check_caches
from tetrad_rollout.engine.sglang.server import Server
from tetrad_rollout.engine.sglang.stage import Stage
from tetrad_rollout.engine.weight_state import WeightEvent, WeightState, WeightStatus, step
from tetrad_telemetry.logs import get_logger
from tetrad_weights.digest import Bytes, DigestAlgorithm
from tetrad_weights.layout import Layout, Parameter, lay_out
from tetrad_weights.manifest import from_digests
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import AdapterSpec, Canary, DeviceHandle, Manifest

log = get_logger(__name__)

_IN_STAGE: Final = frozenset({WeightState.STAGING, WeightState.STAGED, WeightState.PAUSED})

Cut = Callable[[PolicyVersion], int]
"""Closes the spans of samples under way with the version that they came from; how many were cut."""


class ServedWeights:
    """The weights of one server and how they are replaced."""

    def __init__(self, server: Server, *, settings: EngineSettings, is_on_gpu: bool) -> None:
        self._server = server
        self._settings = settings
        self._model = {spec.name: spec for spec in model_layout(settings.model_path, settings.dtype).tensors}
        size = settings.server.tensor_parallel_size
        self._stage = Stage(is_on_gpu=is_on_gpu, size=size)
        self._copies = DeviceCopier()
        self.gpus = tuple(uuid_of(index) for index in range(size)) if is_on_gpu else ()
        self._live_layout: WeightLayout | None = None
        self._stages_begun = 0
        self._probes = ProbeMemory(dtype=settings.dtype)
        self._num_probes = 0
        self._num_loads = 0
        self._has_tested_itself = False
        self._is_unproven = False
        self.status = WeightStatus()
        self.adapter: str | None = None
        """Name of the adapter that requests are served with."""

    # -- the stage, while the server serves --------------------------------------------------------------------

    def begin(self, layout: WeightLayout, version: PolicyVersion) -> Bytes:
        """The stage buffer, for the caller to fill."""
        after = step(self.status, WeightEvent.BEGIN_STAGE, version=version)
        self._check_fits(layout)
        buffer = self._stage.begin(layout)
        self.status = after
        self._stages_begun += 1
        return buffer.view()

    def stage_shortage(self) -> int:
        """Always 0: what lacks for a stage is said where it is allocated."""
        return 0

    def begin_in_place(self, layout: WeightLayout, version: PolicyVersion) -> Bytes:
        """Always refused."""
        raise WeightStateError(
            f"version {version} needs a stage of {layout.num_bytes} bytes: SGLang keeps tensors in shapes of its own, "
            "which are not written over from outside; lower generator.gpu_memory_utilization"
        )

    async def verify(self, expected: str, found: str | None, *, is_paused: bool) -> None:
        """Check the filled stage against the manifest's digest, and bring it to where the server can read it."""
        step(self.status, WeightEvent.VERIFY)
        ticket, layout = self._stages_begun, self._stage.layout
        assert layout is not None
        if found is None:
            found = await asyncio.to_thread(self._settings.digest, self._stage.host_side, layout)
        actual: str = found
        if actual == expected:
            await asyncio.to_thread(self._stage.to_device)
        if ticket != self._stages_begun:
            raise WeightStateError("another stage was begun while this one was being verified: it is superseded")
        version, is_equal = self.status.staged_version, actual == expected
        self.status = step(self.status, WeightEvent.VERIFY if is_equal else WeightEvent.FAIL, digest=actual)
        if not is_equal:
            raise DigestMismatchError(f"version {version} arrived with digest {actual}; its manifest says {expected}")
        if is_paused:
            self.pause()

    async def stage_from_device(
        self, handles: Sequence[DeviceHandle], manifest: Manifest, version: PolicyVersion
    ) -> None:
        """Copy a version from other processes' memory on the server's GPUs, and digest each copy."""
        after = step(self.status, WeightEvent.BEGIN_STAGE, version=version)
        self._check_fits(manifest)
        self.status = after
        self._stages_begun += 1
        ticket = self._stages_begun
        try:
            await asyncio.to_thread(self._copies.take, handles, manifest, self._stage.begin_on_devices(manifest))
        except DigestMismatchError:
            if ticket == self._stages_begun:
                self._fail()
            raise
        if ticket != self._stages_begun:
            raise WeightStateError("another stage was begun while this one was being copied: it is superseded")
        self.status = step(self.status, WeightEvent.VERIFY, digest=manifest.digest)

    def release_stage(self) -> None:
        """Give the stage's memory back; what was staged and not committed is lost."""
        if self.status.state in _IN_STAGE:
            self._fail()
        self._stages_begun += 1  # whoever still verifies or copies finds that it is superseded
        self._stage.release()

    # -- in an idle server -------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The server holds no request."""
        if self.status.state is WeightState.STAGED:
            self.status = step(self.status, WeightEvent.PAUSE)

    def resume(self) -> None:
        """The server is about to get requests; refused in between a commit and a passed probe."""
        if self._is_unproven:
            version = self.status.live_version
            raise WeightStateError(f"version {version} is committed and not proven; call probe() before resume()")
        if self.status.state is WeightState.PAUSED:
            self.status = step(self.status, WeightEvent.RESUME)

    async def commit(self, *, version: PolicyVersion, digest: str, cut: Cut) -> CommitReport:
        """Have the server load the stage.

        Raises:
            WeightStateError, DigestMismatchError: and nothing has changed.
            ServerError: the server did not load it; what it holds is unknown.
        """
        started = time.perf_counter()
        after = step(self.status, WeightEvent.COMMIT)
        staged = (self.status.staged_version, self.status.staged_digest)
        if staged != (version, digest):
            raise DigestMismatchError(f"asked to commit version {version} ({digest}); staged is {staged}")
        spans_cut = cut(self.status.live_version)
        self.status, self._is_unproven, self._live_layout = after, True, self._stage.layout
        try:
            await self._load(version)
            loaded = time.perf_counter()
            if self._settings.server.cache_policy is CachePolicy.FLUSH:
                await self._server.flush_cache()
        except BaseException:
            self._fail()
            raise
        ended = time.perf_counter()
        report = CommitReport(
            version=version,
            digest=digest,
            cache_policy=self._settings.server.cache_policy,
            spans_cut=spans_cut,
            seconds=ended - started,
            flush_s=ended - loaded,
        )
        log.info("weights_committed", version=version, cache_policy=report.cache_policy, spans_cut=spans_cut)
        return report

    async def probe(self, canary: Canary | None) -> ProbeReport:
        """Forward fixed tokens and ask for what the server holds; certify the live version when both are right."""
        step(self.status, WeightEvent.CERTIFY)
        try:
            if not self._has_tested_itself:
                is_cached = self._settings.server.is_prefix_cached
                await check_caches(self._server, is_prefix_cached=is_cached, adapter=self.adapter)
                self._has_tested_itself = True
            # Side by side: each is mostly a way to the scheduler and back.
            logprobs = await self._proof(canary)
        except BaseException:
            self._fail()
            raise
        self._is_unproven = False
        # A certified engine may have begun its next stage in the meantime; it stays certified.
        if self.status.state is WeightState.COMMITTED:
            self.status = step(self.status, WeightEvent.CERTIFY)
        return ProbeReport(version=self.status.live_version, logprobs=logprobs)

    async def _proof(self, canary: Canary | None) -> npt.NDArray[np.float32]:
        """The probe's log-probs, with what the server holds compared beside: both are mostly the way there and back."""
        probed, held = await asyncio.gather(self._probe(canary), self._check_held(), return_exceptions=True)
        for failure in (probed, held):
            if isinstance(failure, BaseException):
                raise failure
        assert isinstance(probed, np.ndarray)
        return probed

    def wake(self) -> None:
        """What slept must be probed again."""
        self.status = step(self.status, WeightEvent.WAKE)

    async def live_digest(self) -> str:
        """Of the bytes that the server computes with, in the layout that they came in."""
        layout = self._live_layout or model_layout(self._settings.model_path, self._settings.dtype)
        adapter = layout.adapter if isinstance(layout, Manifest) else None
        held = await self._held(layout, self.adapter)
        return from_digests(_plain(layout), held, algorithm=_algorithm(layout), adapter=adapter).digest

    async def _probe(self, canary: Canary | None) -> npt.NDArray[np.float32]:
        ids = probe_tokens(canary, self._server.vocab_size).tolist()
        self._num_probes += 1
        logprobs: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        async for _chunk, meta in self._server.generate(
            rid=f"probe-{self._num_probes:010d}",
            input_ids=ids,
            sampling={"max_new_tokens": 1, "temperature": 0.0, "ignore_eos": True},  # greedy: NaN kills a sampler
            salt=f"probe-{self._num_probes}",
            adapter=self.adapter,
            candidates=ids,
        ):
            if meta["finish_reason"] is not None:
                logprobs = np.array([entry[0] for entry in meta["output_token_ids_logprobs"][0]], np.float32)
        if len(logprobs) != len(ids):
            raise ProbeFailedError(f"the probe gave {len(logprobs)} log-probs for {len(ids)} tokens")
        self._probes.check(logprobs, digest=self.status.live_digest, canary=canary)
        return logprobs

    async def _check_held(self) -> None:
        """Whether the server holds the bytes that were committed, tensor by tensor."""
        layout = self._live_layout
        if not isinstance(layout, Manifest):
            return
        if layout.adapter is not None:
            await self._check_base(layout.adapter, _algorithm(layout))
        for spec, digest in zip(layout.tensors, await self._held(layout, self.adapter), strict=True):
            if digest != spec.digest:
                raise ProbeFailedError(
                    f"the server holds {spec.name} with digest {digest or 'none'}; what was committed has {spec.digest}"
                )

    async def _check_base(self, adapter: AdapterSpec, algorithm: DigestAlgorithm) -> None:
        """Whether the weights below the adapters are those that they were trained on."""
        layout = model_layout(self._settings.model_path, self._settings.dtype)
        base = from_digests(layout, await self._held(layout, None, algorithm), algorithm=algorithm).digest
        if base != adapter.base:
            raise ProbeFailedError(f"the server's base has digest {base}; the adapters were trained on {adapter.base}")

    async def _held(
        self, layout: WeightLayout, adapter: str | None, algorithm: DigestAlgorithm | None = None
    ) -> list[str]:
        shapes = {spec.name: spec.shape for spec in layout.tensors}
        held = await self._server.held(shapes, algorithm=algorithm or _algorithm(layout), adapter=adapter)
        if adapter is None and (others := sorted(set(held) - set(shapes))):
            raise ProbeFailedError(
                f"the server computes with {len(others)} parameters that no version brings, such as {others[0]}"
            )
        return [held.get(spec.name, "") for spec in layout.tensors]

    def _check_fits(self, layout: WeightLayout) -> None:
        options = self._settings.server.adapters
        if options is None:
            check_fits(layout, self._model)
        elif isinstance(layout, Manifest):
            check_adapters(layout, self._model, options)
        else:
            raise LayoutError("adapters come with a manifest, which says what they belong to")

    async def _load(self, version: PolicyVersion) -> None:
        """Have the server read the stage: into its weights, or as an adapter that takes the place of the former."""
        layout = self._stage.layout
        if not isinstance(layout, Manifest) or layout.adapter is None:
            await self._server.load_weights(self._stage.payloads())
            return
        self._num_loads += 1
        former, name = self.adapter, f"v{version}-{self._num_loads}"
        payload = base64.b64encode(self._stage.adapter_payload()).decode()
        await self._server.load_adapter(name, payload=payload, config=server_config(layout.adapter))
        self.adapter = name
        if former is not None:
            await self._server.unload_adapter(former)

    def _fail(self) -> None:
        self.status = step(self.status, WeightEvent.FAIL)


def model_layout(folder: Path, dtype: str) -> Layout:
    """Names and shapes of a model's parameters, tied ones once, without its weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))  # type: ignore[no-untyped-call]
    model.tie_weights()
    return lay_out(Parameter(name, dtype, tuple(value.shape)) for name, value in model.named_parameters())


def _algorithm(layout: WeightLayout) -> DigestAlgorithm:
    return DigestAlgorithm(layout.algorithm) if isinstance(layout, Manifest) else DigestAlgorithm.XXH3_128


def _plain(layout: WeightLayout) -> Layout:
    return Layout(tensors=layout.tensors, num_bytes=layout.num_bytes)
