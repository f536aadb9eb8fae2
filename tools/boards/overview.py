"""The first board to look at: does it run, does it learn, and what holds it up."""

from typing import Final

from boards.panels import Board, Kind, Row, panel
from boards.queries import per_step, quantile, rate, series

SUPERVISED: Final = 'role!="launcher"'
MONITORING: Final = 'role!~"prometheus|grafana"'

GLANCE: Final = Row(
    "At a glance",
    (
        panel(
            "Processes up",
            "Processes that Prometheus reaches, and those that there should be; the launcher itself is not counted.",
            "short",
            (f"sum({series('up', SUPERVISED)})", "up"),
            (f"sum({series('tetrad_supervisor_wanted_instances', MONITORING)})", "wanted"),
            kind=Kind.STAT,
            width=4,
        ),
        panel(
            "Training step",
            "The newest step whose weights are out.",
            "short",
            (f"max({series('tetrad_learner_step')})", "step"),
            kind=Kind.STAT,
            width=4,
        ),
        panel(
            "Tokens sampled",
            "Tokens of finished samples per second, over all engines.",
            "short",
            (rate("tetrad_rollout_generated_tokens_total"), "tokens/s"),
            kind=Kind.STAT,
            width=4,
        ),
        panel(
            "Mean reward",
            "Of the newest step.",
            "short",
            (f"avg({series('tetrad_learner_reward_mean')})", "reward"),
            kind=Kind.STAT,
            width=4,
        ),
        panel(
            "Most weight lag",
            "Versions by which the slowest engine is behind the newest.",
            "short",
            (f"max({series('tetrad_broadcast_subscriber_lag_versions')})", "versions"),
            kind=Kind.STAT,
            width=4,
        ),
        panel(
            "Errors",
            "Failed grades, failed weight updates, messages that could not be sent or read; per second.",
            "short",
            (
                " + ".join(
                    rate(metric, labels)
                    for metric, labels in (
                        ("tetrad_reward_failures_total", ""),
                        ("tetrad_rollout_weight_updates_total", 'outcome="failed"'),
                        ("tetrad_zmq_send_failures_total", ""),
                        ("tetrad_zmq_decode_failures_total", ""),
                    )
                ),
                "errors/s",
            ),
            kind=Kind.STAT,
            width=4,
        ),
    ),
)

TIME: Final = Row(
    "Where the time goes",
    (
        panel(
            "Learner",
            "Seconds of a step by phase; waiting for samples is `generate`.",
            "s",
            (
                per_step("tetrad_learner_phase_duration_seconds_sum", 'phase!~"checkpoint|evaluate"', by="phase"),
                "{{phase}}",
            ),
            kind=Kind.STACKED,
            width=6,
        ),
        panel(
            "What the learner waits for",
            "How long it has waited, by reason; `tetrad why` says on whom.",
            "s",
            (f"max by (reason) ({series('tetrad_learner_wait_seconds')})", "{{reason}}"),
            kind=Kind.STACKED,
            width=6,
        ),
        panel(
            "Engines",
            "Share of the time: work under way, paused for weights or asleep, or ready without work.",
            "percentunit",
            (f"avg by (state) (rate({series('tetrad_rollout_time_seconds_total')}[$__rate_interval]))", "{{state}}"),
            kind=Kind.STACKED,
            width=6,
        ),
        panel(
            "Staleness of trained samples",
            "Steps between the oldest weights of a sample and those that its step began with.",
            "short",
            (quantile(0.5, "tetrad_learner_sample_staleness_steps"), "p50"),
            (quantile(0.99, "tetrad_learner_sample_staleness_steps"), "p99"),
            width=6,
        ),
    ),
)

LEARNING: Final = Row(
    "Learning",
    (
        panel(
            "Reward",
            "Mean over the samples of a step, and one standard deviation around it.",
            "short",
            (f"avg({series('tetrad_learner_reward_mean')})", "mean"),
            (f"avg({series('tetrad_learner_reward_mean')}) + avg({series('tetrad_learner_reward_std')})", "+ std"),
            (f"avg({series('tetrad_learner_reward_mean')}) - avg({series('tetrad_learner_reward_std')})", "- std"),
        ),
        panel(
            "Evaluation",
            "Mean reward of the newest evaluation, by dataset.",
            "short",
            (f"max by (dataset) ({series('tetrad_learner_eval_score')})", "{{dataset}}"),
        ),
        panel(
            "KL and entropy",
            "KL loss against the reference (0 where none is asked for), and the policy's entropy in nats.",
            "short",
            (f"avg({series('tetrad_learner_kl_loss')})", "KL loss"),
            (f"avg({series('tetrad_learner_entropy')})", "entropy"),
        ),
    ),
)

FLOW: Final = Row(
    "Flow",
    (
        panel(
            "Groups on their way",
            "Training groups that are running or wait to be trained on, and leases held by engines.",
            "short",
            (f"sum({series('tetrad_learner_prompt_queue_groups')})", "running or waiting"),
            (f"sum({series('tetrad_learner_leases')})", "leased"),
        ),
        panel(
            "Samples on their way",
            "In engines, waiting for a grader, finished and not yet acknowledged.",
            "short",
            (f"sum({series('tetrad_rollout_inflight_samples')})", "in engines"),
            (f"sum({series('tetrad_reward_queued_samples')})", "waiting for a grader"),
            (f"sum({series('tetrad_rollout_unacknowledged_samples')})", "not acknowledged"),
        ),
        panel(
            "Groups dropped",
            "Per second, by reason.",
            "short",
            (rate("tetrad_learner_groups_dropped_total", by="reason"), "{{reason}}"),
        ),
        panel(
            "Processes started again",
            "By the launcher, since it began.",
            "short",
            (f"sum by (role) ({series('tetrad_supervisor_restarts_total', MONITORING)})", "{{role}}"),
        ),
        panel(
            "Readiness",
            "1 where a process says that it does its work.",
            "short",
            (f"min by (role) ({series('tetrad_service_ready')})", "{{role}}"),
        ),
        panel(
            "Memory of processes",
            "Resident bytes of the services' own processes; trainer ranks and graders' workers have theirs elsewhere.",
            "bytes",
            (f"sum by (role) ({series('process_resident_memory_bytes')})", "{{role}}"),
        ),
    ),
)

BOARD: Final = Board(
    uid="tetrad-overview",
    title="Tetrad / Overview",
    about="Does it run, does it learn, and what holds it up.",
    rows=(GLANCE, TIME, LEARNING, FLOW),
)
