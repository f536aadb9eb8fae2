from unit.learner.coordinator.loggers.logger_builders import a_row

from tetrad_learner.coordinator.loggers.console import Console, format_line


def test_the_console_line_is_the_tutorials() -> None:
    line = format_line(12, {"train/policy_loss": 0.02341, "train/mean_reward": 1})

    assert line == "Step 12: train/policy_loss=0.0234, train/mean_reward=1.0000"


def test_the_console_needs_nothing() -> None:
    console = Console()

    console.log(1, {"train/loss": 0.5})
    console.log_samples(1, [a_row()])
    console.close()
