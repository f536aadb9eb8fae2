"""Every metric that the design names is made by the services, or the reference page says what stands for it."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "metrics.md"


@dataclass(frozen=True)
class Compared:
    """The table of the design, and what the code makes."""

    table: ModuleType
    renamed: dict[str, tuple[str, str]]
    made: set[str]
    """As `wanted` names it."""


@pytest.fixture(scope="module")
def compared() -> Iterator[Compared]:
    sys.path.insert(0, str(ROOT / "tools"))
    table, maker = import_module("wanted_metrics"), import_module("make_metrics_reference")
    rows = [row for rows in maker.recorded().values() for row in rows]
    labels = {
        row.name.removeprefix("tetrad_"): {name: getattr(label, "values", ()) for name, label in row.labels.items()}
        for row in rows
    }
    yield Compared(table, maker.RENAMED, set(table.wanted(labels)))
    sys.path.remove(str(ROOT / "tools"))


def asked_for(compared: Compared) -> set[str]:
    return set(compared.table.wanted(compared.table.EVERYWHERE | compared.table.WANTED))


def test_what_is_wanted_is_made_or_stands_elsewhere(compared):
    """Where a metric stands elsewhere, so do its labels."""
    elsewhere = set(compared.table.ELSEWHERE)

    missing = {one for one in asked_for(compared) - compared.made if not {one, one.split()[0]} & elsewhere}

    assert missing == set()


def test_what_stands_elsewhere_is_wanted_and_is_not_made_under_its_own_name(compared):
    elsewhere = set(compared.table.ELSEWHERE)

    assert elsewhere <= asked_for(compared)
    assert elsewhere & compared.made == set()


def test_each_other_name_is_on_the_reference_page(compared):
    page = PAGE.read_text(encoding="utf-8")

    for line in set(compared.table.ELSEWHERE.values()):
        found, why = compared.renamed[line]
        assert f"| {line} | {found} | {why} |" in page


def test_every_metric_that_stands_for_another_exists(compared):
    for found, _why in compared.renamed.values():
        for name in found.split("`")[1::2]:
            if name.startswith("tetrad_"):
                assert name.removeprefix("tetrad_") in compared.made
