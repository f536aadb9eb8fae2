"""`--check`: whether the broadcaster could run here, without running it."""

import os

from tetrad_config import BroadcasterSettings, RunConfig
from tetrad_runtime.exits import ConfigFault, ExitCode, MachineFault
from tetrad_transport.endpoints import check_endpoint
from tetrad_weights.attachments import attach
from tetrad_weights.errors import WeightsError
from tetrad_weights.segments import DIRECTORY, Segment, segment_name


def check(settings: BroadcasterSettings, config: RunConfig) -> int:
    """Say what was found; raises ConfigFault for what the user wrote, MachineFault for what the machine lacks."""
    try:
        for endpoint in (settings.bind, settings.coordinator):
            check_endpoint(endpoint, allow_clear_tcp=settings.allow_clear_tcp)
    except ValueError as error:
        raise ConfigFault(str(error)) from error
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
