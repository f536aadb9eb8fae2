"""The graders: what they pay, how they find it, and how they fail."""

from typing import Final

from boards.panels import Board, Kind, Row, panel
from boards.queries import mean, quantile, rate, series

SCORES: Final = Row(
    "Scores",
    (
        panel(
            "Mean score",
            "Of what was graded in the interval, by reward function.",
            "short",
            (mean("tetrad_reward_score", by="reward_fn"), "{{reward_fn}}"),
        ),
        panel(
            "Recent mean and deviation",
            "Of the last 256 rewards of a replica; right for negative rewards too.",
            "short",
            (f"avg by (reward_fn) ({series('tetrad_reward_batch_mean')})", "{{reward_fn}} mean"),
            (f"avg by (reward_fn) ({series('tetrad_reward_batch_std')})", "{{reward_fn}} std"),
        ),
        panel(
            "Distribution",
            "Grades per second up to each score.",
            "short",
            (rate("tetrad_reward_score_bucket", by="le"), "≤ {{le}}"),
        ),
        panel(
            "How answers are found",
            "Share by rule of the extractor; `none` is a format failure, not a wrong answer.",
            "percentunit",
            (
                f"{rate('tetrad_reward_extractions_total', by='result')} "
                f"/ ignoring (result) group_left () {rate('tetrad_reward_extractions_total')}",
                "{{result}}",
            ),
            kind=Kind.STACKED,
        ),
        panel(
            "Turns graded",
            "Per second, by reward function and outcome.",
            "short",
            (rate("tetrad_reward_samples_total", by="reward_fn, outcome"), "{{reward_fn}} {{outcome}}"),
        ),
        panel(
            "Failures",
            "Turns without a reward per second, by reason.",
            "short",
            (rate("tetrad_reward_failures_total", by="reason"), "{{reason}}"),
        ),
    ),
)

WORK: Final = Row(
    "Workers",
    (
        panel(
            "Time of a grade",
            "In its worker.",
            "s",
            (quantile(0.5, "tetrad_reward_duration_seconds"), "p50"),
            (quantile(0.99, "tetrad_reward_duration_seconds"), "p99"),
        ),
        panel(
            "Workers",
            "Processes by state.",
            "short",
            (f"sum by (state) ({series('tetrad_reward_workers')})", "{{state}}"),
            kind=Kind.STACKED,
        ),
        panel(
            "Workers lost",
            "Killed, for their time or their memory, or dead; since the start.",
            "short",
            (f"sum by (replica) ({series('tetrad_reward_worker_deaths_total')})", "{{replica}}"),
        ),
        panel(
            "Waiting for a worker",
            "Turns and openings.",
            "short",
            (f"sum by (replica) ({series('tetrad_reward_queued_samples')})", "{{replica}}"),
            width=12,
        ),
        panel(
            "Episodes held",
            "By replica; those that are over are kept for a while, for whoever asks again.",
            "short",
            (f"sum by (replica) ({series('tetrad_reward_episodes')})", "{{replica}}"),
            width=12,
        ),
    ),
)

BOARD: Final = Board(
    uid="tetrad-reward",
    title="Tetrad / Reward",
    about="The graders: what they pay, how they find it, and how they fail.",
    rows=(SCORES, WORK),
)
