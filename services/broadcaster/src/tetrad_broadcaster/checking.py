"""`--check`: whether the broadcaster could run here, without running it."""

import os

from tetrad_config import BroadcasterSettings, RunConfig
from tetrad_runtime.exits import ExitCode, MachineFault
from tetrad_runtime.wiring import check_wiring
from tetrad_transport.keys import KeyRole
from tetrad_weights.attachments import attach
from tetrad_weights.errors import WeightsError
from tetrad_weights.segments import DIRECTORY, Segment, segment_name


def check(settings: BroadcasterSettings, config: RunConfig) -> int:
    """Say what was found; raises ConfigFault for what the user wrote, MachineFault for what the machine lacks."""
    check_wiring(settings, KeyRole.BROADCASTER)
    try:
        _probe_shared_memory()
    except (OSError, WeightsError) as error:
        raise MachineFault(f"shared memory: {error}") from error
    print(f"ok: {settings.bind}, engines have {config.generator.weight_sync_timeout:g} s, {_free_bytes()} bytes free")
    return ExitCode.OK


def _probe_shared_memory() -> None:
    segment = Segment(segment_name(run="check", incarnation=str(os.getpid()), ordinal=0), 1)
    try:
        segment.end_writing()
        attach(segment.handle).close()
    finally:
        segment.close()


def _free_bytes() -> int:
    filesystem = os.statvfs(DIRECTORY)
    return filesystem.f_bavail * filesystem.f_frsize
