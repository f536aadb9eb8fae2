"""`tetrad eval` refuses what cannot be before anything starts."""

import pytest

from tetrad_cli.__main__ import main
from tetrad_cli.commands import eval as command
from tetrad_config.interpolation import ASSETS

WARM_START = str(ASSETS / "demo" / "warm_start")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--checkpoint", "/gone/global_step_1"], "/gone/global_step_1 is no checkpoint"),
        (["--model", WARM_START, "+experiment=demo", "--output", "/gone/scores.json"], "there is no folder /gone"),
        (["--model", WARM_START, "+experiment=demo", "--n", "0"], "generator.eval_n_samples_per_prompt"),
        (["--model", WARM_START, "+experiment=demo", "--data", "/gone.jsonl"], "/gone.jsonl"),
        (["--model", WARM_START, "+experiment=demo", "trainer.epochs=1"], "nothing is trained"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(capsys, arguments, reason):
    assert main(["eval", *arguments]) == 78
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--model", "m", "--checkpoint", "c"]])
def test_exactly_one_thing_is_evaluated(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["eval", *arguments])

    assert exit_.value.code == 2


def test_overrides_may_follow_the_files(tmp_path):
    named = tmp_path / "a=b.jsonl"
    named.touch()

    assert command._parted([str(named), "c.jsonl", "trainer.seed=1"]) == ([str(named), "c.jsonl"], ["trainer.seed=1"])
