"""A service for the tests of `run_service`; argv: its behaviour, the drain's deadline, the last grace (s)."""

import asyncio
import sys
import threading
import time

from tetrad_runtime import process
from tetrad_runtime.exits import EngineFault, ExitCode
from tetrad_telemetry import logs


async def polite(drain):
    print("up", flush=True)
    await drain.wait()
    print("drained", flush=True)


async def deaf(drain):
    print("up", flush=True)
    await asyncio.Event().wait()


async def blocked(drain):
    print("up", flush=True)
    await drain.wait()
    time.sleep(60)  # noqa: ASYNC251 - the fault that is to be survived


async def code(drain):
    return ExitCode.DATA


async def fault(drain):
    raise EngineFault("the scheduler died")


async def bug(drain):
    raise KeyError("surprise")


async def group(drain):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fault(drain))


async def stuck_thread(drain):
    threading.Thread(target=time.sleep, args=(60,), daemon=False).start()
    return ExitCode.DATA


if __name__ == "__main__":
    behaviour, drain_timeout_s, process.LAST_GRACE_S = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    logs.configure(service="test", format="json")
    sys.exit(process.run_service(globals()[behaviour], drain_timeout_s=drain_timeout_s))
