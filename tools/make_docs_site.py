"""Make the documentation's site from every page of the repository, strictly: a dead link or anchor is an error.

python tools/make_docs_site.py [--root DIR] [--build DIR]

Pages keep their places relative to each other, so that a link that works in the repository works on the site. The
navigation is made of the folders: a page is on it as soon as it lies in one of them, and a page in any other folder is
an error. zensical is run as a program of its own: it ends its process when it is not content.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).parents[1]
SECTIONS: Final = (
    ("Tutorials", "docs/tutorials/*.md"),
    ("How-to", "docs/how-to/*.md"),
    ("Reference", "docs/reference/*.md"),
    ("Explanation", "docs/explanation/*.md"),
    ("Decisions", "docs/adr/*.md"),
    ("Examples", "examples/**/README.md"),
    ("Libraries", "libs/*/README.md"),
    ("Services", "services/*/README.md"),
    ("Beside them", "*/README.md"),
)
"""Headings of the navigation, and what stands under them."""
TOP: Final = ("README.md", "docs/*.md", *(pattern for _, pattern in SECTIONS))
LAST: Final = ("CONTRIBUTING.md", "CHANGELOG.md")
IGNORED: Final = frozenset({"node_modules", "build", "outputs"})
LINK: Final = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
TITLE: Final = re.compile(r"^# (.+)$", re.MULTILINE)
BUILD_TIMEOUT_S: Final = 300.0


def main(argv: Sequence[str] | None = None) -> int:
    """Build the site; return 1 where a page is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the repository")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "docs", help="folder to build in")
    arguments = parser.parse_args(argv)
    try:
        gather(arguments.root, arguments.build)
    except ValueError as error:
        print(f"make_docs_site: {error}", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"]
    built = subprocess.run(command, cwd=arguments.build, timeout=BUILD_TIMEOUT_S, check=False)
    if built.returncode == 0:
        print(f"the site is in {arguments.build / 'site'}: open index.html")
    return 1 if built.returncode else 0


def gather(root: Path, build: Path) -> None:
    """Copy every page and what it links to into `build`, with settings that have all of them in the navigation."""
    shutil.rmtree(build, ignore_errors=True)
    pages = find(root, (*TOP, *LAST))
    if lost := sorted(set(find(root, ("docs/**/*.md",))) - set(pages)):
        names = ", ".join(page.relative_to(root).as_posix() for page in lost)
        raise ValueError(f"{names}: in no folder of the navigation; add the folder to SECTIONS")
    for path in {*pages, *(target for page in pages for target in linked_files(page, root))}:
        copy = build / "pages" / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md" and path not in pages:
            copy.write_text(as_it_is(path), encoding="utf-8")
        else:
            shutil.copyfile(path, copy)
    settings = (root / "mkdocs.yml").read_text(encoding="utf-8")
    (build / "mkdocs.yml").write_text(settings + yaml.safe_dump({"nav": navigation(root)}, allow_unicode=True))


def as_it_is(path: Path) -> str:
    """A page that shows a file which is linked to and no page of ours, such as a tutorial that a test reads."""
    return f"# {path.name}\n\n`````text\n{path.read_text(encoding='utf-8')}\n`````\n"


def find(root: Path, patterns: Sequence[str]) -> list[Path]:
    """The pages that fit, in the order of the patterns, index pages before others."""
    found = (path for pattern in patterns for path in sorted(root.glob(pattern), key=_indexes_first))
    return list(dict.fromkeys(path for path in found if not is_ignored(path.relative_to(root))))


def is_ignored(path: Path) -> bool:
    """Tell whether a page was made by a tool or came with a package."""
    return any(part in IGNORED or part.startswith(".") for part in path.parts)


def _indexes_first(path: Path) -> tuple[bool, str]:
    return (not path.stem.endswith("index"), path.as_posix())


def linked_files(page: Path, root: Path) -> Iterator[Path]:
    """Files of the repository that a page links to."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / link).resolve()
        if target.is_file() and target.is_relative_to(root.resolve()):
            yield root / target.relative_to(root.resolve())


def navigation(root: Path) -> list[dict[str, object]]:
    """The navigation as mkdocs writes it, with the title of each page."""

    def entries(*patterns: str) -> list[dict[str, object]]:
        return [{title(page): page.relative_to(root).as_posix()} for page in find(root, patterns)]

    sections = [{heading: entries(pattern)} for heading, pattern in SECTIONS]
    filled = [section for section in sections if all(section.values())]
    return [*entries("README.md", "docs/*.md"), *filled, *entries(*LAST)]


def title(page: Path) -> str:
    """The first headline of a page; raise ValueError where it has none."""
    found = TITLE.search(page.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{page} has no title: begin it with a line '# …'")
    return found.group(1).replace("`", "")


if __name__ == "__main__":
    sys.exit(main())
