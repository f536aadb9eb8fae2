"""Every block of a page either runs or says why not, and a block that does not work fails."""

import pytest

from docs.blocks import COMMANDS, RUNNABLE, SHOWN, Verb, blocks_of
from docs.pages import ELSEWHERE, FIRST_READ, OTHERS, ROOT, found, named
from docs.provisions import PROVISIONS
from docs.session import Session

PAGES = found(*FIRST_READ, *OTHERS)


def a_page(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_block_says_its_language_and_each_comment_above_one_is_understood(page):
    for block in blocks_of(page):
        assert block.language in RUNNABLE | SHOWN, f"{block.name}: {block.language!r} is none of the languages of pages"
        assert not block.strange, f"{block.name}: {block.strange} is none of {', '.join(Verb)}, with ': ' and a text"
        for names in block.said(Verb.NEEDS):
            assert set(names.split(", ")) <= PROVISIONS.keys(), f"{block.name}: nobody provides {names}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_does_not_run_says_why(page):
    for block in blocks_of(page):
        for mark in block.marks:
            if mark.verb in {Verb.LATER, Verb.NOT_RUN}:
                assert len(mark.text.split()) >= 3, f"{block.name}: {mark.text!r} is no reason"
                lines = block.commands() if mark.lines is None else block.text.splitlines()
                assert any(line.startswith(mark.lines or "") for line in lines), f"{block.name}: no line {mark.lines!r}"


def test_pages_that_others_run_are_named_there():
    for page, folder in ELSEWHERE.items():
        if (ROOT / page).exists():
            tests = [path.read_text(encoding="utf-8") for path in (ROOT / folder).glob("*.py")]
            assert any(page.rpartition("/")[2] in text for text in tests), f"{folder} does not run {page}"


def test_there_are_enough_commands_for_this_to_mean_something():
    blocks = [block for page in PAGES for block in blocks_of(page)]

    assert sum(block.runs(is_later=False) for page in found(*FIRST_READ) for block in blocks_of(page)) >= 2
    assert sum(block.language in COMMANDS for block in blocks) > 30
    assert sum(block.runs(is_later=True) for block in blocks) > 20


def test_comments_above_a_block_are_read(tmp_path):
    page = a_page(
        tmp_path,
        '# T\n\n<!-- needs: demo -->\n<!-- not run "b": it has\nno end -->\n```bash\na \\\n  1\nb 2\n# c\n```\n',
    )

    (block,) = blocks_of(page)

    assert block.line == 6
    assert block.said(Verb.NEEDS) == ["demo"]
    assert block.commands() == ["a \\\n  1"]
    assert block.runs(is_later=False)


def test_what_runs_later_does_not_run_with_every_test(tmp_path):
    page = a_page(tmp_path, "# T\n\n<!-- later: it takes minutes -->\n```bash\na\n```\n\n```bash\nb\n```\n")

    later, now = blocks_of(page)

    assert (later.runs(is_later=False), later.runs(is_later=True)) == (False, True)
    assert (now.runs(is_later=False), now.runs(is_later=True)) == (True, True)


@pytest.mark.parametrize("comment", ["<!-- norun: it is slow here -->", "<!-- a remark -->"])
def test_a_comment_that_is_not_understood_is_noticed_and_the_block_runs(tmp_path, comment):
    (block,) = blocks_of(a_page(tmp_path, f"# T\n\n{comment}\n```bash\na\n```\n"))

    assert len(block.strange) == 1
    assert block.runs(is_later=False)


@pytest.mark.parametrize(
    ("language", "text"),
    [("bash", "true\nfalse\ntrue\n"), ("bash", "tetrad trian\n"), ("python", "assert 1 == 2\n")],
    ids=["a command that fails", "an unknown command", "python that raises"],
)
def test_a_block_that_does_not_work_fails(tmp_path, language, text):
    (block,) = blocks_of(a_page(tmp_path, f"# T\n\n```{language}\n{text}```\n"))

    with pytest.raises(AssertionError, match=r"page\.md:3 ended with code"):
        Session(tmp_path / "session").run(block, is_later=False)


def test_a_block_changes_nothing_of_the_repository_and_sets_nothing_up(tmp_path):
    before = (ROOT / "pyproject.toml").read_bytes()
    text = "```toml\n# pyproject.toml\nx = 1\n```\n\n```bash\necho y > libs/wire/pyproject.toml\n```\n"
    session = Session(tmp_path / "session")

    for block in blocks_of(a_page(tmp_path, f"# T\n\n{text}")):
        session.run(block, is_later=False)

    assert (session.folder / "pyproject.toml").read_text() == "# pyproject.toml\nx = 1\n"
    assert (ROOT / "pyproject.toml").read_bytes() == before
    session.shell("make -n demo > said", where="make")
    assert (session.folder / "said").read_text().splitlines() == [
        ".venv/bin/tetrad train +experiment=demo trainer.seed=42 --live"
    ]


def test_a_session_keeps_files_variables_and_the_folder_from_block_to_block(tmp_path):
    page = a_page(
        tmp_path,
        "# T\n\n```python\n# mine.py\nANSWER = 42\n```\n\n```bash\nexport WORD=here\nmkdir deep && cd deep\n```\n\n"
        '```bash\ntest "$WORD" = here\ntest "${PWD##*/}" = deep\n'
        'PYTHONPATH=.. python -c "import mine; assert mine.ANSWER == 42"\n'
        "```\n",
    )
    session = Session(tmp_path / "session")

    for block in blocks_of(page):
        session.run(block, is_later=False)
