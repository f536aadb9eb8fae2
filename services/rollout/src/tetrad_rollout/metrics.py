"""The metrics of a rollout replica."""

from collections.abc import Mapping

from tetrad_rollout.engine.protocol import EngineStatistics
from tetrad_rollout.occupation import Occupation, OccupationClock
from tetrad_rollout.speed import WINDOW_S, Speed
from tetrad_rollout.weight_keeper import LinkStatistics, UpdatePart
from tetrad_rollout.weights.failure import UpdateFailure
from tetrad_runtime.channels import ChannelMetrics
from tetrad_telemetry.metrics import Metrics, closed
from tetrad_transport import ChannelStatistics
from tetrad_wire.messages.leases import FinishReason, SampleFinished
from tetrad_wire.messages.weights import WeightTransport

TOKEN_BUCKETS = (1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


class RolloutMetrics:
    """Counted where it happens; what the engine knows is read when scraped."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._speed = Speed()
        self._channels = ChannelMetrics(metrics)
        self.groups = metrics.counters(
            "groups_total", "Leases ended.", labels={"outcome": closed(("ok", "aborted", "error", "stale"))}
        )
        self.samples = metrics.counters(
            "samples_total", "Samples finished.", labels={"finish_reason": closed(FinishReason)}
        )
        self.generated = metrics.counter("generated_tokens_total", "Tokens of finished samples that were sampled.")
        self.speed = metrics.gauge(
            "speed_tokens",
            f"Sampled tokens in one second, by the samples that finished within the last {WINDOW_S:g} s.",
        )
        self.prompts = metrics.counter("prompt_tokens_total", "Prompt tokens of finished samples.")
        self.prefilled = metrics.gauge(
            "prefilled_tokens", "Prompt tokens computed by the engine since the start; less where prefixes are shared."
        )
        self.queued = metrics.gauge("queued_groups", "Leases held.")
        self.inflight = metrics.gauge("inflight_samples", "Samples in the engine.")
        self.group_seconds = metrics.histogram("generate_duration_seconds", "From lease to the last grade of a group.")
        self.response_tokens = metrics.histogram(
            "response_tokens", "Sampled tokens of a sample.", buckets=TOKEN_BUCKETS
        )
        self.version = metrics.gauge("weight_version", "Policy version that the engine is certified for.")
        self.updates = metrics.counters(
            "weight_updates_total", "Attempts to run newer weights.", labels={"outcome": closed(("done", "failed"))}
        )
        self.update_failures = metrics.counters(
            "weight_update_failures_total", "Of those, the failed ones.", labels={"reason": closed(UpdateFailure)}
        )
        self.update_seconds = metrics.histograms(
            "weight_update_duration_seconds",
            "Seconds of a weight update by part; the engine serves while it stages.",
            labels={"phase": closed(UpdatePart)},
        )
        self.time = metrics.counters(
            "time_seconds_total",
            "Where the time went: work under way, none though ready, or the engine paused for weights or asleep.",
            labels={"state": closed(Occupation)},
        )
        self.groups_broken = metrics.gauge(
            "weight_groups_broken", "Process groups with the broadcaster that failed, died or were late."
        )
        self.links = metrics.gauges(
            "weight_link_bandwidth_bytes",
            "Bytes in one second that the link to the broadcaster was proved with.",
            labels={"transport": closed((WeightTransport.SOCKET, WeightTransport.NCCL))},
        )
        self.unacknowledged = metrics.gauge("unacknowledged_samples", "Samples that the coordinator does not have yet.")

    def count(self, sample: SampleFinished) -> None:
        """Count a finished sample."""
        sampled = int(sample.loss_mask.sum())
        self.samples.with_labels(finish_reason=sample.finish_reason.value).inc()
        self.generated.inc(sampled)
        self._speed.add(sampled)
        self.prompts.inc(sample.prompt_length)
        self.response_tokens.observe(sampled)

    def updated(self, parts: Mapping[UpdatePart, float]) -> None:
        """The engine runs newer weights; seconds of each part."""
        self.updates.with_labels(outcome="done").inc()
        for part, seconds in parts.items():
            self.update_seconds.with_labels(phase=part).observe(seconds)

    def update_failed(self, reason: UpdateFailure) -> None:
        """The engine does not run what it should; it will try again."""
        self.updates.with_labels(outcome="failed").inc()
        self.update_failures.with_labels(reason=reason).inc()

    def render(
        self,
        engine: EngineStatistics,
        occupation: OccupationClock,
        links: LinkStatistics,
        *,
        coordinator: ChannelStatistics,
        version: int,
        unacknowledged: int,
    ) -> bytes:
        """Read what others know, then write everything."""
        self.inflight.set(engine.running_samples + engine.waiting_samples)
        self.prefilled.set(engine.prompt_tokens)
        self.speed.set(self._speed.tokens_per_s())
        self.version.set(version)
        for state, seconds in occupation.spent().items():
            self.time.with_labels(state=state).inc(seconds)
        self.groups_broken.set(links.num_groups_broken)
        for transport, bytes_per_s in links.bytes_per_s.items():
            self.links.with_labels(transport=transport).set(bytes_per_s)
        self.unacknowledged.set(unacknowledged)
        self._channels.update("coordinator", coordinator)
        return self._metrics.render()
