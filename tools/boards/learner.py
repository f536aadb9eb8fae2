"""The trainer ranks and the coordinator: is the loss sane, and where does a step's time go."""

from typing import Final

from boards.panels import Board, Kind, Row, panel
from boards.queries import mean, per_step, quantile, rate, series

FLAT: Final = 'outcome="zero_variance"'
TRAINER: Final = 'role="trainer"'

OBJECTIVE: Final = Row(
    "Objective",
    (
        panel(
            "Losses",
            "Policy loss and KL loss of the newest step.",
            "short",
            (f"avg({series('tetrad_learner_policy_loss')})", "policy"),
            (f"avg({series('tetrad_learner_kl_loss')})", "KL"),
        ),
        panel(
            "Gradient norm",
            "Before clipping.",
            "short",
            (f"avg({series('tetrad_learner_grad_norm')})", "norm"),
        ),
        panel(
            "Entropy",
            "In nats; a cliff is a collapse.",
            "short",
            (f"avg({series('tetrad_learner_entropy')})", "entropy"),
        ),
        panel(
            "Clip ratio",
            "Share of tokens whose ratio the loss clipped; a few percent at most are healthy.",
            "percentunit",
            (f"avg({series('tetrad_learner_clip_ratio')})", "clipped"),
        ),
        panel(
            "Engine against learner",
            "|log-prob of the learner − of the engine|: near float noise at staleness 0.",
            "short",
            (f"avg({series('tetrad_learner_logprob_difference_mean')})", "mean"),
            (f"max({series('tetrad_learner_logprob_difference_max')})", "max"),
        ),
        panel(
            "Learning rate",
            "Of the newest step.",
            "short",
            (f"avg({series('tetrad_learner_learning_rate')})", "rate"),
        ),
    ),
)

BATCH: Final = Row(
    "Batch",
    (
        panel(
            "Groups that teach nothing",
            "Share of trained groups whose samples all have one reward.",
            "percentunit",
            (
                f"{rate('tetrad_learner_groups_total', FLAT)} / {rate('tetrad_learner_groups_total')}",
                "zero variance",
            ),
        ),
        panel(
            "Tokens trained on",
            "Per second, by kind.",
            "short",
            (rate("tetrad_learner_tokens_total", by="kind"), "{{kind}}"),
            kind=Kind.STACKED,
        ),
        panel(
            "Samples received",
            "Per second, by what became of them.",
            "short",
            (rate("tetrad_learner_samples_total", by="outcome"), "{{outcome}}"),
        ),
    ),
)

TIME: Final = Row(
    "Time",
    (
        panel(
            "Time of a step",
            "From one version to the next.",
            "s",
            (quantile(0.5, "tetrad_learner_step_duration_seconds"), "p50"),
            (quantile(0.99, "tetrad_learner_step_duration_seconds"), "p99"),
        ),
        panel(
            "Time of its phases",
            "p99 by phase.",
            "s",
            (
                quantile(0.99, "tetrad_learner_phase_duration_seconds", 'phase!~"checkpoint|evaluate"', by="phase"),
                "{{phase}}",
            ),
        ),
        panel(
            "Parts of training",
            "Seconds of a step on rank 0.",
            "s",
            (per_step("tetrad_learner_train_part_duration_seconds_sum", by="part"), "{{part}}"),
            kind=Kind.STACKED,
        ),
        panel(
            "Checkpoints and evaluations",
            "Mean seconds; both go on beside the training.",
            "s",
            (mean("tetrad_learner_phase_duration_seconds", 'phase=~"checkpoint|evaluate"', by="phase"), "{{phase}}"),
        ),
        panel(
            "Age of the newest checkpoint",
            "What a crash of the trainer ranks would have to replay.",
            "s",
            (f"time() - max({series('tetrad_learner_last_checkpoint_timestamp_seconds')} > 0)", "age"),
        ),
        panel(
            "Failures",
            "Sets of ranks that died, checkpoints that could not be written, records that a logger lost.",
            "short",
            (f"sum({series('tetrad_learner_ranks_lost_total')})", "ranks lost"),
            (f"sum({series('tetrad_learner_checkpoints_failed_total')})", "checkpoints failed"),
            (f"sum({series('tetrad_learner_logger_failures_total')})", "logger failures"),
        ),
    ),
)

MACHINE: Final = Row(
    "Machine",
    (
        panel(
            "Memory of the ranks",
            "Of their GPUs, or of the host where they have none.",
            "bytes",
            (f"sum by (kind) ({series('tetrad_learner_memory_bytes', TRAINER)})", "{{kind}}"),
            width=12,
        ),
        panel(
            "Ledger",
            "Transactions per second.",
            "short",
            (rate("tetrad_learner_ledger_commits_total"), "commits/s"),
            width=12,
        ),
    ),
)

GPU: Final = Row(
    "GPU",
    (
        panel(
            "Model FLOPs utilisation",
            "Of rank 0: 6 FLOPs per weight and token, by the peak of the GPU.",
            "percentunit",
            (f"avg({series('tetrad_learner_mfu_ratio')} > 0)", "MFU"),
        ),
        panel(
            "Phases of a shared GPU",
            "Share of the time by phase of the device lease, where learner and engine share GPUs.",
            "percentunit",
            (rate("tetrad_learner_device_phase_duration_seconds_sum", by="phase") + " > 0", "{{phase}}"),
            kind=Kind.STACKED,
        ),
        panel(
            "Memory at the end of a phase",
            "Of the processes of a role, where learner and engine share GPUs.",
            "bytes",
            (f"max by (role, phase) ({series('tetrad_learner_device_held_bytes')}) > 0", "{{role}} {{phase}}"),
        ),
    ),
)

BOARD: Final = Board(
    uid="tetrad-learner",
    title="Tetrad / Learner",
    about="Is the loss sane, and where does a step's time go.",
    rows=(OBJECTIVE, BATCH, TIME, MACHINE, GPU),
)
