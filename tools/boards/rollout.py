"""The engines: how fast, how full, with which weights."""

from typing import Final

from boards.panels import Board, Kind, Row, panel
from boards.queries import quantile, rate, series

SPEED: Final = Row(
    "Sampling",
    (
        panel(
            "Tokens sampled by replica",
            "Tokens of finished samples per second.",
            "short",
            (rate("tetrad_rollout_generated_tokens_total", by="replica"), "{{replica}}"),
            kind=Kind.STACKED,
        ),
        panel(
            "Leases and samples held",
            "What each replica has to do.",
            "short",
            (f"sum by (replica) ({series('tetrad_rollout_queued_groups')})", "{{replica}} leases"),
            (f"sum by (replica) ({series('tetrad_rollout_inflight_samples')})", "{{replica}} samples"),
        ),
        panel(
            "Time of a group",
            "From its lease to the last grade.",
            "s",
            (quantile(0.5, "tetrad_rollout_generate_duration_seconds"), "p50"),
            (quantile(0.9, "tetrad_rollout_generate_duration_seconds"), "p90"),
            (quantile(0.99, "tetrad_rollout_generate_duration_seconds"), "p99"),
        ),
        panel(
            "Where replicas' time goes",
            "Share of the time of each that is spent on work.",
            "percentunit",
            (rate("tetrad_rollout_time_seconds_total", 'state="busy"', by="replica"), "{{replica}} busy"),
        ),
        panel(
            "Prompt tokens",
            "Of finished samples per second, and what engines had to compute: less where prefixes are shared.",
            "short",
            (rate("tetrad_rollout_prompt_tokens_total"), "of samples"),
            (f"sum(deriv({series('tetrad_rollout_prefilled_tokens')}[$__rate_interval]))", "computed"),
        ),
        panel(
            "Samples not acknowledged",
            "Finished, and the coordinator does not have them yet.",
            "short",
            (f"sum by (replica) ({series('tetrad_rollout_unacknowledged_samples')})", "{{replica}}"),
        ),
    ),
)

SAMPLES: Final = Row(
    "Samples",
    (
        panel(
            "Length of responses",
            "Sampled tokens.",
            "short",
            (quantile(0.5, "tetrad_rollout_response_tokens"), "p50"),
            (quantile(0.99, "tetrad_rollout_response_tokens"), "p99"),
        ),
        panel(
            "How samples end",
            "Per second; `length` is a sample that was cut off.",
            "short",
            (rate("tetrad_rollout_samples_total", by="finish_reason"), "{{finish_reason}}"),
            kind=Kind.STACKED,
        ),
        panel(
            "How leases end",
            "Per second.",
            "short",
            (rate("tetrad_rollout_groups_total", by="outcome"), "{{outcome}}"),
            kind=Kind.STACKED,
        ),
    ),
)

WEIGHTS: Final = Row(
    "Weights",
    (
        panel(
            "Version of each engine",
            "The policy version that it is certified for.",
            "short",
            (f"max by (replica) ({series('tetrad_rollout_weight_version')})", "{{replica}}"),
        ),
        panel(
            "Time of an update",
            "p99 by part; the engine serves while it stages.",
            "s",
            (quantile(0.99, "tetrad_rollout_weight_update_duration_seconds", by="phase"), "{{phase}}"),
        ),
        panel(
            "Updates",
            "Per second.",
            "short",
            (rate("tetrad_rollout_weight_updates_total", by="outcome"), "{{outcome}}"),
        ),
    ),
)

SGLANG: Final = Row(
    "SGLang",
    (
        panel(
            "Token usage",
            "Share of the KV cache that is in use.",
            "percentunit",
            (f"max by (replica) ({series('sglang:token_usage')})", "{{replica}}"),
        ),
        panel(
            "Prefix cache hits",
            "Share of prompt tokens that were in the cache.",
            "percentunit",
            (f"max by (replica) ({series('sglang:cache_hit_rate')})", "{{replica}}"),
        ),
        panel(
            "Requests",
            "Running, and waiting for room.",
            "short",
            (f"sum by (replica) ({series('sglang:num_running_reqs')})", "{{replica}} running"),
            (f"sum by (replica) ({series('sglang:num_queue_reqs')})", "{{replica}} waiting"),
        ),
        panel(
            "Time to first token",
            "As SGLang measures it.",
            "s",
            (quantile(0.5, "sglang:time_to_first_token_seconds"), "p50"),
            (quantile(0.99, "sglang:time_to_first_token_seconds"), "p99"),
        ),
        panel(
            "Time between tokens",
            "As SGLang measures it.",
            "s",
            (quantile(0.5, "sglang:inter_token_latency_seconds"), "p50"),
            (quantile(0.99, "sglang:inter_token_latency_seconds"), "p99"),
        ),
        panel(
            "Retracted requests",
            "Put back because the KV cache was full: then `generator.max_num_seqs` is too high.",
            "short",
            (f"sum by (replica) ({series('sglang:num_retracted_reqs')})", "{{replica}}"),
        ),
    ),
)

BOARD: Final = Board(
    uid="tetrad-rollout",
    title="Tetrad / Rollout",
    about="The engines: how fast, how full, with which weights.",
    rows=(SPEED, SAMPLES, WEIGHTS, SGLANG),
)
