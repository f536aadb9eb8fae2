"""The control socket answers its owner and survives everybody else."""

import asyncio
import contextlib
import stat

import pytest

from tetrad_cli.launch.control import MAX_LINE_BYTES, ControlError, InstanceStatus, Reply, Request, ask, serve

ROW = InstanceStatus(
    name="rollout-0", role="rollout", index=0, pid=7, port=9, state="up", restarts=0, uptime_s=1.5, last_exit=None
)


async def answer(request):
    if request.op == "down":
        return Reply(ok=False, error="no")
    return Reply(ok=True, run="demo", phase="up", pid=1, instances=(ROW,), wanted={"rollout": 2})


async def raw(path, line):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    async with asyncio.timeout(5):
        reply = await reader.read()
    writer.close()
    return reply


@pytest.fixture
def short(tmp_path_factory):
    return tmp_path_factory.mktemp("s")


async def test_a_question_is_answered_with_typed_rows(short):
    async with serve(short, answer, runtime_dir=short):
        reply = await ask(short, Request(op="status"), deadline_s=5)

    assert reply == Reply(ok=True, run="demo", phase="up", pid=1, instances=(ROW,), wanted={"rollout": 2})


async def test_a_refusal_is_an_error_for_the_asker(short):
    async with serve(short, answer, runtime_dir=short):
        with pytest.raises(ControlError, match=r"^no$"):
            await ask(short, Request(op="down"), deadline_s=5)


async def test_only_the_user_may_connect(short):
    async with serve(short, answer, runtime_dir=short):
        assert stat.S_IMODE((short / "control.sock").stat().st_mode) == 0o600


async def test_a_long_path_is_bridged_by_a_link(short, tmp_path):
    run_dir = tmp_path / ("long" * 25)
    run_dir.mkdir()
    async with serve(run_dir, answer, runtime_dir=short):
        reply = await ask(run_dir, Request(op="status"), deadline_s=5)

    assert reply.run == "demo"
    assert not (run_dir / "control.sock").is_symlink()


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{\n", b'{"op": "x", "y": 1}\n', b'{"op"', b"\xff\n"])
async def test_what_is_no_request_is_refused_and_the_server_goes_on(short, line):
    async with serve(short, answer, runtime_dir=short):
        reader, writer = await asyncio.open_unix_connection(short / "control.sock")
        writer.write(line)
        writer.write_eof()
        async with asyncio.timeout(5):
            assert b"not a request" in await reader.read()
        writer.close()

        assert (await ask(short, Request(op="status"), deadline_s=5)).ok


async def test_an_endless_line_is_cut_off(short):
    async with serve(short, answer, runtime_dir=short):
        with contextlib.suppress(ConnectionError):
            assert await raw(short / "control.sock", b"x" * (2 * MAX_LINE_BYTES)) == b""

        assert (await ask(short, Request(op="status"), deadline_s=5)).ok


async def test_a_launcher_that_is_not_there_is_said_so(short):
    with pytest.raises(ControlError, match="cannot be asked"):
        await ask(short, Request(op="status"), deadline_s=5)


async def test_a_launcher_that_does_not_answer_is_given_up_at_the_deadline(short):
    async def silent(_request):
        await asyncio.Event().wait()

    async with serve(short, silent, runtime_dir=short):
        with pytest.raises(ControlError, match=r"did not answer within 0.1 s"):
            await ask(short, Request(op="status"), deadline_s=0.1)
