"""What is asked before membership: which run a coordinator has, and where its broadcaster is."""

import msgspec

from tetrad_wire.ids import RunId


class AskRun(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asks what is run here before joining it; answered by RunDescribed. No membership is needed."""

    name: str = ""
    """Of the host or the replica that asks, for the log."""


class RunDescribed(msgspec.Struct, frozen=True, kw_only=True):
    """What a host must know before it can start anything, and a replica before it loads a model."""

    run: RunId
    name: str
    """Of the run's folder."""
    config: str
    """The resolved run file, as text."""
    broadcaster: str = ""
    """Endpoint of the broadcaster; empty while there is none."""
    broadcaster_key: str = ""
    """Key by which the broadcaster is known to the coordinator; empty where no keys are used."""
