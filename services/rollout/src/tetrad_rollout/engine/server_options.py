"""What an inference server is told at its start, in the words of the run file. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tetrad_rollout.engine.protocol import CachePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterOptions:
    """The adapters that an engine serves beside the base weights it keeps."""

    rank: int
    target_modules: tuple[str, ...]
    """Names of layers, or `all-linear`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Knobs of an engine that is a server of its own; the embedded engines know none of them."""

    memory_share: float = 0.8
    """Of the device, for weights and KV cache."""
    max_prefill_tokens: int = 8192
    """Prompt tokens in one forward."""
    is_prefix_cached: bool = True
    is_prefill_chunked: bool = True
    is_eager: bool = False
    """No CUDA graphs."""
    tensor_parallel_size: int = 1
    step_timeout_s: float = 120.0
    """Of one forward, on all its GPUs; a server that is stuck in one for longer ends itself."""
    group_timeout_s: float = 600.0
    """Of a collective between the processes of a server, also while they load."""
    may_sleep: bool = False
    """Whether memory is to be given back and taken again."""
    cache_policy: CachePolicy = CachePolicy.FLUSH
    """What a commit does to cached prefixes; no new request can meet them either way."""
    adapters: AdapterOptions | None = None
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """Further arguments by the server's own names; they win over the ones above."""
