"""Pages that are made from the code say what the code does, and links between pages lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_cli.catalog import summaries
from tetrad_config.schema import fields
from tetrad_runtime.exits import ExitCode

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize("page", ["configuration", "metrics", "exit_codes", "cli", "claims", "errors"])
@pytest.mark.timeout(120)
def test_the_page_is_current(page):
    command = [sys.executable, str(ROOT / "tools" / f"make_{page}_reference.py"), "--check"]

    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert checked.returncode == 0, checked.stderr


def test_the_configuration_page_has_each_key_with_a_sentence():
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")

    for key in fields():
        row = re.search(rf"^\| `{re.escape(key)}` \|.*\| (.*) \|$", page, re.MULTILINE)
        assert row is not None, key
        assert row.group(1).strip(), key


def test_the_exit_code_page_has_each_code():
    page = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")

    assert all(f"| {code.value} | `{code.name}` |" in page for code in ExitCode)


def test_the_command_line_page_has_each_command_with_its_arguments():
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")

    installed = [name for name, summary in summaries().items() if "(pip install" not in summary]
    assert len(installed) > 15
    for name in installed:
        section = page.partition(f"\n## tetrad {name}\n")[2].partition("\n## ")[0]
        assert f"```text\ntetrad {name}" in section, name
    assert "| `--skip-step N` |  | go on without training step N" in page
    assert "### tetrad keys rotate" in page


def pages() -> list[Path]:
    tops = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "changelog.d" / "README.md"]
    readmes = [*ROOT.glob("libs/*/README.md"), *ROOT.glob("services/*/README.md")]
    return [*sorted(DOCS.rglob("*.md")), *tops, *sorted(readmes)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page):
    text = page.read_text(encoding="utf-8")

    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]

    assert missing == []


def test_each_page_is_reached_from_the_map():
    mapped = (DOCS / "index.md").read_text(encoding="utf-8") + (DOCS / "adr" / "0000-index.md").read_text(
        encoding="utf-8"
    )

    for page in DOCS.rglob("*.md"):
        assert page.name in mapped or page.name == "index.md", f"{page.relative_to(ROOT)} is not on the map"


def test_decisions_fit_on_a_page():
    index = DOCS / "adr" / "0000-index.md"
    for page in {*(DOCS / "adr").glob("*.md")} - {index}:
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 40, page.name
