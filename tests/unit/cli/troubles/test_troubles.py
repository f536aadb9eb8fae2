"""Each trouble of the catalogue, provoked: its message is told from all others, and what it advises exists."""

import asyncio
import importlib
import re
from pathlib import Path

import pytest
from unit.cli.troubles.running_provocations import RUNNING, cut_smaller, grouped
from unit.cli.troubles.starting_provocations import STARTING

from tetrad_cli.catalog import BUILTINS, FROM_SERVICES
from tetrad_cli.troubles.catalog import TROUBLES, troubles_in
from tetrad_config.schema import fields, free_form_parent, section_at
from tetrad_config.section import DottedKey

PROVOKED = {**STARTING, **RUNNING}
ALONE = {"micro-batches-cut-smaller", "group-broken"}
KEY = re.compile(r"`\+?((?:trainer|generator|data|environment|reward)\.[\w.]+)")
COMMAND = re.compile(r"`tetrad (\w+)")


def slugs_in(message: str) -> list[str]:
    return [trouble.slug for trouble in troubles_in([message])]


def test_every_trouble_is_provoked_here() -> None:
    assert set(PROVOKED) | ALONE == set(TROUBLES)


@pytest.mark.parametrize("slug", PROVOKED)
@pytest.mark.timeout(120)
def test_its_message_is_known_by_the_catalogue_and_for_no_other_trouble(slug: str, tmp_path: Path) -> None:
    message = PROVOKED[slug](tmp_path)

    assert slugs_in(message) == [slug], message


def test_micro_batches_that_were_cut_smaller_are_a_warning_with_the_override(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = cut_smaller(tmp_path, capsys)

    assert slugs_in(message) == ["micro-batches-cut-smaller"]
    assert "trainer.micro_train_batch_size_per_gpu=2" in message


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_group_that_breaks_names_peer_and_phase() -> None:
    message = asyncio.run(grouped())

    assert slugs_in(message) == ["group-broken"], message
    assert "the broadcaster" in message


@pytest.mark.parametrize("slug", TROUBLES)
def test_what_it_names_exists(slug: str) -> None:
    trouble = TROUBLES[slug]
    module, _, name = trouble.raised.partition(":")

    assert hasattr(importlib.import_module(module), name), trouble.raised
    for text in (trouble.cause, trouble.fix):
        for key in map(DottedKey, KEY.findall(text)):
            path = tuple(key.split("."))
            assert key in fields() or section_at(path) or free_form_parent(key), f"{slug} names {key}"
        for command in COMMAND.findall(text):
            assert command in {**BUILTINS, **FROM_SERVICES}, f"{slug} names tetrad {command}"
