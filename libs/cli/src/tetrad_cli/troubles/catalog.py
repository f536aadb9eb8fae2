"""All troubles, and which of them a text speaks of. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tetrad_cli.troubles.running import RUNNING
from tetrad_cli.troubles.starting import STARTING
from tetrad_cli.troubles.trouble import Impossible, Trouble

TROUBLES: Final[Mapping[str, Trouble]] = {trouble.slug: trouble for trouble in (*STARTING, *RUNNING)}
"""Slug → trouble, in the order of a run's life."""


def troubles_in(lines: Iterable[str]) -> Iterator[Trouble]:
    """Yield the troubles that lines of a log speak of, each once, in the order of the catalogue."""
    text = "\n".join(lines)
    yield from (trouble for trouble in TROUBLES.values() if trouble.is_in(text))


IMPOSSIBLE: Final = (
    Impossible(
        title="A Ray worker crashes with an editable SGLang",
        elsewhere="`Failed to generate package metadata for sglang @ editable+…`; unset `RAY_RUNTIME_ENV_HOOK`",
        why="There is no Ray: services are processes of the installed environment. The variable may stay set.",
        proof="tests/unit/cli/troubles/test_impossible.py::test_ray_is_neither_imported_nor_required_and_its_variable_may_stay_set",
    ),
    Impossible(
        title="A tokenizer without a pad token",
        elsewhere="`Asking to pad but the tokenizer does not have a padding token`",
        why="Nothing is padded by the tokenizer: rows are packed, or filled up with an id that no attention sees.",
        proof="tests/unit/rollout/test_rendering.py::test_a_tokenizer_without_a_pad_token_renders_as_any_other",
    ),
    Impossible(
        title="A key that is accepted and does nothing",
        elsewhere="`ckpt_dir`, `lambda_`, `weight_sync_timeout` and `enable_lora` of the tutorial are read by nobody",
        why="The first two are aliases, and announced; the others are keys of their own, with the effect that their "
        "names promise. A key without effect gets a note, an unknown one is refused.",
        proof="tests/unit/config/test_loader.py::test_keys_without_effect_are_announced",
    ),
    Impossible(
        title="The weight sync waits for ever",
        elsewhere="no timeout around it; the run hangs",
        why="Every wait has a deadline: see [weight-sync-timeout](#weight-sync-timeout).",
        proof="tests/unit/rollout/test_sync_deadline.py::test_chunks_that_stop_coming_are_named_at_the_deadline",
    ),
    Impossible(
        title="`from_pretrained` finds no weights in `global_step_N`",
        elsewhere="the folder has no weights file at that level",
        why="A checkpoint is a Hugging Face folder, with the trainer's state beside it.",
        proof="tests/numerics/test_families.py::test_a_checkpoint_loads_as_the_family_and_holds_the_weights",
    ),
)
"""What the tutorial and SkyRL's users meet, and Tetrad's cannot."""
