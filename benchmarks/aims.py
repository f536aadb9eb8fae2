"""What the figures should reach, and how names of metrics are read."""

import re
from dataclasses import dataclass
from typing import Final

UNITS: Final = {
    "gigabytes_per_s": "GB/s",
    "messages_per_s": "messages/s",
    "tokens_per_s": "tokens/s",
    "teraflops_per_s": "TFLOP/s",
    "samples_per_s": "samples/s",
    "grades_per_s": "grades/s",
    "leases_per_s": "leases/s",
    "us_per_lease": "µs/lease",
    "us_per_heartbeat": "µs/heartbeat",
    "samples_per_commit": "samples/commit",
    "gigabytes": "GB",
    "gib": "GiB",
    "us": "µs",
    "ms": "ms",
    "s": "s",
    "tokens": "tokens",
    "samples": "samples",
    "steps": "steps",
    "seconds": "s",
    "nats": "nats",
    "count": "",
    "correct_share": "",
    "share": "",
}
"""Ending of a metric's name → its unit. A ratio has none."""
TOKENS_PER_SECOND: Final = re.compile(r"(?P<whose>\w+_)?tokens_per_second_(?P<what>.+)")
UTILISATION: Final = re.compile(r"(?P<whose>\w+_)?mfu_(?P<what>.+)_ratio")
"""Of the measured rate of a matrix product: model FLOPs utilisation."""
RATIO: Final = re.compile(r"(?P<what>.+)_ratio_to_(?P<peer>.+)")
OVER: Final = re.compile(r"(?P<what>\w+?)_over_(?P<peer>bare_engine)(?P<which>(_[\w.]+)?)_ratio")
"""What, over whom, of which model."""
OF_RANKS: Final = re.compile(r"ratio_(?P<what>.+_ranks)")
"""What several ranks do, relative to one."""
PEERS: Final = {
    "pyzmq_asyncio": "bare pyzmq, asyncio",
    "pyzmq_asyncio_msgpack": "pyzmq, asyncio, with msgpack headers",
    "pyzmq_blocking": "bare pyzmq in a blocking loop",
    "memcpy": "memcpy",
    "trl": "TRL's GRPOTrainer",
    "generate": "Hugging Face generate",
    "plain_loop": "the grader in a plain loop",
    "1_replica": "one replica",
    "channel_clear": "our channel in the clear",
    "pyzmq_blocking_clear": "bare pyzmq in a blocking loop, in the clear",
    "pyzmq_blocking_curve": "bare pyzmq in a blocking loop, under CURVE",
    "1_engine": "one engine",
    "alone": "good grades alone",
    "bare_engine": "bare sglang.Engine",
}
"""What a ratio is to, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A bound on some metrics of some benchmarks."""

    benchmark: str
    """Pattern of the benchmark's name."""
    metric: str
    """Pattern of the metric's name."""
    limit: float
    is_least: bool
    """Whether the metric should be at least the limit; otherwise at most."""

    def is_for(self, benchmark: str, metric: str) -> bool:
        """Whether it bounds this metric."""
        return bool(re.fullmatch(self.benchmark, benchmark) and re.fullmatch(self.metric, metric))

    def is_met(self, value: float) -> bool:
        """Whether the value is within the bound."""
        return value >= self.limit if self.is_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.limit:g}"


def _at_least(benchmark: str, metric: str, limit: float) -> Aim:
    return Aim(benchmark=benchmark, metric=metric, limit=limit, is_least=True)


def _at_most(benchmark: str, metric: str, limit: float) -> Aim:
    return Aim(benchmark=benchmark, metric=metric, limit=limit, is_least=False)


AIMS: Final = (
    _at_least(r"wire", r".+_ratio_to_pyzmq_asyncio", 0.8),
    _at_least(r"weight_sync.*", r"copy_ratio_to_memcpy", 0.5),
    _at_least(r"weight_sync.*", r"end_to_end_ratio_to_memcpy", 0.2),
    _at_least(r"weight_sync.*", r"socket_ratio_to_pyzmq_blocking", 0.5),
    _at_least(r"grpo_step.*", r"samples_per_s_ratio_to_trl", 2.0),
    _at_most(r"grpo_step.*", r"all_processes_peak_pss_ratio_to_trl", 0.5),
    _at_least(r"algorithms", r".+_sampled_after_correct_share", 0.6),
    _at_least(r"learner", r"mfu_1\.5b_4k_ratio", 0.35),
    _at_least(r"learner", r"train_.+_ratio_to_trl", 1.5),
    _at_least(r"rollout", r"service_over_bare_engine(_0\.5b)?_ratio", 0.95),
    _at_most(r"weight_sync", r"same_gpu_0\.5b_end_to_end_p50_seconds", 0.05),
    _at_most(r"weight_sync", r"same_gpu_1\.5b_end_to_end_p50_seconds", 0.08),
    _at_most(r"weight_sync", r"same_gpu_(0\.5|1\.5)b_pause_p50_seconds", 0.03),
    _at_most(r"weight_sync", r"nccl_0\.5b_end_to_end_p50_seconds", 0.05),
    _at_most(r"weight_sync", r"nccl_1\.5b_end_to_end_p50_seconds", 0.08),
    _at_most(r"weight_sync", r"nccl_(0\.5|1\.5)b_pause_p50_seconds", 0.03),
    # What the tutorial says of four A100, at best.
    _at_most(r"gsm8k_loop", r"tutorial_step_p50_seconds", 144.0),
    _at_least(r"scaling", r"engines_2_ratio_to_1_engine", 1.9),
    _at_least(r"rewards.*", r"\w+_beside_hostile_good_grades_ratio_to_alone", 0.9),
    # Flat, but for noise.
    _at_most(r"coordinator", r"\w+_cost_per_lease_at_\d+_replicas_ratio_to_1_replica", 1.5),
)


def aim_of(benchmark: str, metric: str) -> Aim | None:
    """The bound on a metric, if there is one."""
    return next((aim for aim in AIMS if aim.is_for(benchmark, metric)), None)


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric's name, taken apart."""

    what: str
    unit: str
    peer: str
    """What it is compared with; empty if with nothing."""


def read_name(metric: str) -> Reading:
    """Take a metric's name apart; raise ValueError if it does not say its unit.

    >>> read_name("copy_ratio_to_memcpy")
    Reading(what='copy', unit='×', peer='memcpy')
    >>> read_name("end_to_end_s")
    Reading(what='end to end', unit='s', peer='')
    """
    ratio = RATIO.fullmatch(metric)
    if ratio:
        return Reading(_words(ratio["what"]), "×", PEERS.get(ratio["peer"], _words(ratio["peer"])))
    if over := OVER.fullmatch(metric):
        return Reading(_words(over["what"] + over["which"]), "×", PEERS[over["peer"]])
    if found := OF_RANKS.fullmatch(metric):
        return Reading(_words(found["what"]), "×", "one rank")
    for ending in sorted(UNITS, key=len, reverse=True):
        if metric.endswith(f"_{ending}"):
            return Reading(_words(metric.removesuffix(f"_{ending}")), UNITS[ending], "")
    if found := TOKENS_PER_SECOND.fullmatch(metric):
        return Reading(_words(f"{found['whose'] or ''}{found['what']}"), "tokens/s", "")
    if found := UTILISATION.fullmatch(metric):
        return Reading(
            _words(f"{found['whose'] or ''}mfu_{found['what']}"), "×", "the measured bfloat16 matrix product"
        )
    if metric in UNITS:
        return Reading("", UNITS[metric], "")
    raise ValueError(f"metric {metric!r} does not end in a unit; the units are {', '.join(UNITS)}, ratio_to_…")


def _words(name: str) -> str:
    return name.replace("_", " ")
