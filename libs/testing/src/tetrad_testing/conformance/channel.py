"""The promises of a channel, whatever carries it.

A test module subclasses `ChannelConformance` and gives the fixture `site`: a `MemorySite`, `IpcSite` or `TcpSite`.
"""

from tetrad_testing.conformance.channel_delivery import ChannelDelivery
from tetrad_testing.conformance.channel_site import IpcSite, MemorySite, RawPeer, Site, TcpSite
from tetrad_testing.conformance.channel_trouble import ChannelTrouble

__all__ = ["ChannelConformance", "IpcSite", "MemorySite", "RawPeer", "Site", "TcpSite"]


class ChannelConformance(ChannelDelivery, ChannelTrouble):
    """Everything a channel must do."""
