"""A child of the groups that says what it should not, and its service."""

import asyncio
import sys

import pytest

from tetrad_runtime.group_child import MAX_LINE_BYTES, GroupChild
from tetrad_weights.errors import GroupBrokenError
from tetrad_weights.group_orders import Listen, Listening, line_of

SOON_S = 20.0
ORDER = Listen(host="127.0.0.1", timeout_s=SOON_S)


async def a_child(program: str) -> GroupChild:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE_BYTES,
    )
    return GroupChild(process, peer="rollout-0")


async def test_an_answer_is_waited_for():
    child = await a_child(f"print({line_of(Listening(port=7)).decode()!r})")

    assert await child.ask(ORDER, Listening, timeout_s=SOON_S) == Listening(port=7)
    await child.kill()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('Using the fast path')", "no answer"),
        (f"print('x' * {2 * MAX_LINE_BYTES})", "no answer"),
        ("", "ended"),
        ("import time; time.sleep(60)", "within"),
    ],
)
async def test_whatever_else_it_says_breaks_its_group_and_ends_it_and_nothing_more(program: str, said: str):
    child = await a_child(program)
    is_silent = said == "within"

    with pytest.raises(GroupBrokenError, match=said):
        await child.ask(ORDER, Listening, timeout_s=0.2 if is_silent else SOON_S)

    assert not child.is_alive
