"""Opens the transport of a service as its settings say, with keys where there are any."""

from tetrad_config.process import ServiceSettings
from tetrad_runtime.audit import Audit
from tetrad_runtime.exits import ConfigFault, Fault, PeerLost
from tetrad_telemetry.logs import get_logger
from tetrad_transport import ZmqTransport
from tetrad_transport.endpoints import check_endpoint, check_private
from tetrad_transport.keys import Keyring, KeyRole, KeysError
from tetrad_transport.membership import CoordinatorLostError, CoordinatorRefusedError

log = get_logger(__name__)


def open_transport(settings: ServiceSettings, role: KeyRole) -> ZmqTransport:
    """Make the transport of a process of `role`; raise ConfigFault where its endpoints or keys cannot be used."""
    check_wiring(settings, role)
    return ZmqTransport(
        allow_clear_tcp=settings.allow_clear_tcp, keyring=keyring_of(settings, role), on_refusal=Audit().note
    )


def keyring_of(settings: ServiceSettings, role: KeyRole) -> Keyring | None:
    """Read the keys of a process; None where it is told of none. Raises ConfigFault."""
    if settings.keys is None:
        return None
    try:
        return Keyring(settings.keys, role=role, name=settings.name, on_problem=_tell)
    except KeysError as error:
        raise ConfigFault(str(error)) from error


def wiring_problems(settings: ServiceSettings, role: KeyRole) -> list[str]:
    """What is wrong with the endpoints and keys of a service; empty where all is well."""
    problems: list[str] = []
    # A service that binds nothing, or that is itself the coordinator, has no such setting.
    bind, connect = getattr(settings, "bind", ""), getattr(settings, "coordinator", "")
    has_keys, allow_clear_tcp = settings.keys is not None, settings.allow_clear_tcp
    for endpoint in filter(None, (bind, connect)):
        try:
            check_endpoint(endpoint, allow_clear_tcp=allow_clear_tcp, has_keys=has_keys, is_bound=endpoint == bind)
            if endpoint == bind:
                check_private(endpoint)
        except ValueError as error:
            problems.append(str(error))
    try:
        keyring_of(settings, role)
    except ConfigFault as fault:
        problems.append(str(fault))
    return problems


def check_wiring(settings: ServiceSettings, role: KeyRole) -> None:
    """Raise ConfigFault naming all that is wrong with the endpoints and keys of a service."""
    problems = wiring_problems(settings, role)
    if problems:
        raise ConfigFault("\n".join(problems))


def fault_of(error: BaseException) -> Fault:
    """Whose fault it is that the coordinator is gone, or does not take us in."""
    assert isinstance(error, CoordinatorLostError)
    fault = ConfigFault if isinstance(error, CoordinatorRefusedError) else PeerLost
    return fault(str(error))


def _tell(problem: str) -> None:
    log.error("key_not_usable", problem=problem)
