"""The site of the documentation is built strictly: links and anchors lead somewhere, pages are on the navigation."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKER = ROOT / "tools" / "make_docs_site.py"

pytestmark = pytest.mark.timeout(120)


def build(root: Path, into: Path) -> tuple[int, str]:
    command = [sys.executable, str(MAKER), "--root", str(root), "--build", str(into)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path):
    """A repository of three pages that are in order."""
    root = tmp_path / "root"
    (root / "docs" / "how-to").mkdir(parents=True)
    shutil.copy(ROOT / "mkdocs.yml", root)
    (root / "README.md").write_text("# One\n\n[a page](docs/how-to/do.md#twice)\n")
    (root / "docs" / "index.md").write_text("# Documentation\n\n[do](how-to/do.md)\n")
    (root / "docs" / "how-to" / "do.md").write_text("# Do\n\n## Twice\n\n[back](../index.md)\n")
    return root


def test_the_site_of_this_repository_is_built_without_a_warning(tmp_path):
    code, said = build(ROOT, tmp_path / "built")

    assert code == 0, said
    assert "No issues found" in said
    for page in ("index.html", "docs/index.html", "docs/reference/protocol.html", "libs/wire/index.html"):
        assert (tmp_path / "built" / "site" / page).is_file(), page


def test_a_page_that_is_added_to_a_folder_is_on_the_navigation(tree, tmp_path):
    (tree / "docs" / "how-to" / "new.md").write_text("# Quite new\n")

    code, said = build(tree, tmp_path / "built")

    assert code == 0, said
    assert "Quite new" in (tmp_path / "built" / "site" / "index.html").read_text()


def test_markdown_that_is_no_page_is_shown_as_it_is_written(tree, tmp_path):
    (tree / "tests").mkdir()
    (tree / "tests" / "seed.md").write_text("# Seed\n\n[dead](gone.md)\n")
    (tree / "docs" / "index.md").write_text("# Documentation\n\n[do](how-to/do.md), [seed](../tests/seed.md)\n")

    code, said = build(tree, tmp_path / "built")

    assert code == 0, said
    assert "[dead](gone.md)" in (tmp_path / "built" / "site" / "tests" / "seed.html").read_text()


@pytest.mark.parametrize(
    ("page", "text", "complaint"),
    [
        ("docs/index.md", "# Documentation\n\n[gone](how-to/gone.md)\n", "page does not exist"),
        ("docs/index.md", "# Documentation\n\n[do](how-to/do.md#thrice)\n", "anchor does not exist"),
        ("docs/recipes/cake.md", "# Cake\n", "docs/recipes/cake.md: in no folder of the navigation"),
        ("docs/how-to/do.md", "no headline\n", "has no title"),
    ],
    ids=["dead link", "dead anchor", "page in a folder that is not on the navigation", "page without a title"],
)
def test_the_build_fails_on_a(tree, tmp_path, page, text, complaint):
    (tree / page).parent.mkdir(exist_ok=True)
    (tree / page).write_text(text)

    code, said = build(tree, tmp_path / "built")

    assert code == 1
    assert complaint in said
