"""What the pages tell a reader to type runs: README and first run with every test, the others by `make test-docs`."""

import pytest

from docs.blocks import SHOWN, Verb, blocks_of
from docs.pages import FIRST_READ, OTHERS, found, named
from docs.provisions import provide
from docs.session import Session

EVERYTHING = found(*FIRST_READ, *OTHERS)


@pytest.fixture
def session(tmp_path):
    opened = Session(tmp_path)
    yield opened
    opened.close()


def runnable(page, *, is_later):
    return [
        block for block in blocks_of(page) if block.runs(is_later=is_later) or (block.file and block.language in SHOWN)
    ]


def read(page, session, *, is_later):
    for block in runnable(page, is_later=is_later):
        for names in block.said(Verb.NEEDS):
            provide(session, names)
        session.run(block, is_later=is_later)


@pytest.mark.live
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [page for page in found(*FIRST_READ) if runnable(page, is_later=False)], ids=named)
def test_first_pages_run_from_the_top(page, session):
    read(page, session, is_later=False)


@pytest.mark.pages
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [page for page in EVERYTHING if runnable(page, is_later=True)], ids=named)
def test_pages_run_from_the_top(page, session):
    read(page, session, is_later=True)
