"""SGLang in this process: start, the coroutines that we use, shutdown. Knows no request of ours, no version."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Self

import torch
from sglang.srt.entrypoints.engine import Engine
from sglang.srt.managers.io_struct import (
    GenerateReqInput,
    LoadLoRAAdapterFromTensorsReqInput,
    ReleaseMemoryOccupationReqInput,
    ResumeMemoryOccupationReqInput,
    RpcReqInput,
    RpcReqOutput,
    UnloadLoRAAdapterReqInput,
    UpdateWeightsFromTensorReqInput,
    sock_recv,
    sock_send,
)
from sglang.srt.managers.tokenizer_manager import print_exception_wrapper
from sglang.srt.server_args import ServerArgs
from sglang.srt.utils.patch_torch import monkey_patch_torch_reductions

from tetrad_rollout.engine.errors import EngineError
from tetrad_rollout.engine.sglang.host import Host
from tetrad_rollout.engine.sglang.scheduler import HELD, run_scheduler
from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)

RPC_TIMEOUT_S: Final = 30.0
FLUSH_TIMEOUT_S: Final = 5.0
VERSIONS: Final = ("sglang", "torch", "transformers", "sglang-kernel", "flashinfer-python")


class ServerError(EngineError):
    """SGLang refused or failed at something that we asked of it."""


class _Engine(Engine):  # type: ignore[misc]  # sglang has no types
    """SGLang's engine, whose schedulers tell what they hold."""

    run_scheduler_process_func = staticmethod(run_scheduler)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a request has sampled so far."""

    entries: Sequence[tuple[float, int, object]]
    """(log-prob, id, …) of every token since the request was sent; SGLang's own list, which grows."""
    finish: Mapping[str, Any] | None
    """SGLang's reason; None while it goes on."""
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt, whose KV was there already."""


class Server:
    """A started `sglang.Engine`; its coroutines belong to the first event loop that uses one."""

    def __init__(self, engine: Any, host: Host) -> None:
        self._engine = engine
        self._host = host
        self._manager = engine.tokenizer_manager
        # One thread: a call that nobody waits for any more still takes its answer before the next one asks.
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="sglang-calls")
        engine.send_to_rpc.rcvtimeo = int(RPC_TIMEOUT_S * 1e3)

    @classmethod
    def start(cls, arguments: Mapping[str, Any]) -> Self:
        """Load the model; blocks for as long as that takes, on any thread."""
        if torch.cuda.is_available():
            monkey_patch_torch_reductions()  # devices by UUID: processes may number them differently
        host = Host(lambda: _Engine(**arguments))
        return cls(host.made(), host)

    @property
    def max_context(self) -> int:
        """Prompt and new tokens of one request, at most."""
        return int(self._manager.model_config.context_len)

    @property
    def vocab_size(self) -> int:
        """Ids are in [0, this)."""
        return int(self._manager.model_config.vocab_size)

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Tokens that end a sample."""
        ids = self._manager.model_config.hf_eos_token_id
        return tuple(sorted(ids)) if ids else ()

    @property
    def max_tokens_held(self) -> int:
        """Tokens whose KV fits into the cache."""
        return int(self._engine._scheduler_init_result.scheduler_infos[0]["max_total_num_tokens"])

    @property
    def child_pids(self) -> list[int]:
        """SGLang's processes."""
        return list(self._engine.get_all_child_pids())

    async def generate(
        self,
        *,
        rid: str,
        input_ids: list[int],
        sampling: Mapping[str, Any],
        salt: str,
        adapter: str | None = None,
        prompt_logprobs: bool = False,
        candidates: list[int] | None = None,
    ) -> AsyncIterator[tuple[Chunk, Mapping[str, Any]]]:
        """Yield what is there so far, now and then; the last chunk names why it ended.

        `candidates` are tokens whose log-probs are told at each position that is sampled.
        """
        request = GenerateReqInput(
            rid=rid,
            input_ids=input_ids,
            sampling_params=dict(sampling),
            return_logprob=True,
            logprob_start_len=0 if prompt_logprobs else -1,
            token_ids_logprob=candidates,
            stream=True,
            extra_key=salt,
            lora_path=adapter,
        )
        async for out in self._here.generate_request(request):
            meta = out["meta_info"]
            entries = meta.get("output_token_logprobs") or ()
            yield (
                Chunk(entries, meta["finish_reason"], meta.get("prompt_tokens", 0), meta.get("cached_tokens", 0)),
                meta,
            )

    def abort(self, rid: str) -> None:
        """Ask that a request end at the next token boundary; harmless when it is not there."""
        self._manager.abort_request(rid=rid)

    async def load_weights(self, payloads: Sequence[bytes]) -> None:
        """Overwrite parameters from flattened buckets, one payload per GPU of the engine."""
        request = UpdateWeightsFromTensorReqInput(
            serialized_named_tensors=list(payloads), load_format="flattened_bucket", flush_cache=False
        )
        done, message = await self._here.update_weights_from_tensor(request, None)
        if not done:
            raise ServerError(f"SGLang did not load the weights: {message}")

    async def load_adapter(self, name: str, *, payload: str, config: Mapping[str, Any]) -> None:
        """Make an adapter servable under a name of its own."""
        request = LoadLoRAAdapterFromTensorsReqInput(
            lora_name=name, config_dict=dict(config), serialized_tensors=payload, load_format="flattened_bucket"
        )
        answer = await self._here.load_lora_adapter_from_tensors(request)
        if not answer.success:
            raise ServerError(f"SGLang did not load adapter {name}: {answer.error_message}")

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        answer = await self._here.unload_lora_adapter(UnloadLoRAAdapterReqInput(lora_name=name))
        if not answer.success:
            raise ServerError(f"SGLang did not unload adapter {name}: {answer.error_message}")

    async def flush_cache(self) -> None:
        """Forget all KV; the server must be idle, or become so within a few seconds."""
        answer = await self._here.flush_cache(timeout_s=FLUSH_TIMEOUT_S)
        if not answer.success:
            raise ServerError(f"SGLang's cache was not flushed within {FLUSH_TIMEOUT_S:g} s: requests are running")

    async def release(self, tags: Sequence[str]) -> None:
        """Give memory back. The server must be idle: it dies otherwise."""
        await self._here.release_memory_occupation(ReleaseMemoryOccupationReqInput(tags=list(tags)))

    async def take_back(self, tags: Sequence[str]) -> None:
        """Take back what was released; taking twice kills the server."""
        await self._here.resume_memory_occupation(ResumeMemoryOccupationReqInput(tags=list(tags)))

    async def held(
        self, shapes: Mapping[str, Sequence[int]], *, algorithm: str, adapter: str | None = None
    ) -> dict[str, str]:
        """Digests of what all schedulers compute with, of a model or an adapter, by the names of a checkpoint."""
        wanted = {name: list(shape) for name, shape in shapes.items()}
        parameters = {"shapes": wanted, "algorithm": algorithm, "adapter": adapter}
        answer = await self._call(HELD, parameters)
        held: dict[str, str] = json.loads(answer)
        return held

    def close(self) -> None:
        """End SGLang's processes."""
        self._engine.shutdown()
        self._calls.shutdown(wait=False)
        self._host.end()

    async def _call(self, method: str, parameters: Mapping[str, Any]) -> str:
        def call() -> RpcReqOutput:
            sock_send(self._engine.send_to_rpc, RpcReqInput(method=method, parameters=dict(parameters)))
            return sock_recv(self._engine.send_to_rpc)

        # An answer that does not come in time is an error that nobody catches: the service ends and begins anew, since
        # the late answer would be taken for that of the next call.
        answer = await asyncio.get_running_loop().run_in_executor(self._calls, call)
        if not answer.success:
            raise ServerError(f"SGLang's scheduler failed at {method}: {answer.message}")
        return str(answer.message)

    @property
    def _here(self) -> Any:
        """SGLang's tokenizer manager, listening on this event loop."""
        if self._manager.event_loop is None:
            # What it does at its first request, less the part that takes SIGTERM away from the service.
            loop = self._manager.event_loop = asyncio.get_running_loop()
            self._manager.asyncio_tasks.add(loop.create_task(print_exception_wrapper(self._manager.handle_loop)))
        return self._manager


def known_arguments() -> frozenset[str]:
    """Fields of the installed ServerArgs."""
    return frozenset(field.name for field in fields(ServerArgs))


def capability() -> tuple[int, int] | None:
    """Compute capability of the first GPU; None on a machine without."""
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return major, minor


def installed_versions() -> dict[str, str]:
    """Versions of what decides how the engine computes."""
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
