"""Where this host stands in the network: its address towards a peer, and the interface that has an address.

Owns nothing. What gloo and NCCL are told in their variables is found here.
"""

import socket

import psutil

from tetrad_runtime.exits import MachineFault


def address_towards(host: str, port: int) -> str:
    """Return our own address on the way to a peer; raise MachineFault where there is no way. Nothing is sent."""
    try:
        family, kind, _protocol, _name, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise MachineFault(f"no way to {host}:{port} ({error}); check its name and the routes of this host") from error


def interface_with(address: str) -> str:
    """Return the network interface that has an address; raise MachineFault, naming all, where none has."""
    found = {name: [entry.address for entry in entries] for name, entries in psutil.net_if_addrs().items()}
    for name, addresses in found.items():
        # An IPv6 address of one link carries the link's name behind a percent sign.
        if address in {one.partition("%")[0] for one in addresses}:
            return name
    there = ", ".join(f"{name} {' '.join(addresses)}" for name, addresses in found.items())
    raise MachineFault(f"no interface of this host has the address {address}; there are {there}")


def address_of(interface: str) -> str:
    """Return the IPv4 address of an interface, else its IPv6 one; raise MachineFault where it has none."""
    there = psutil.net_if_addrs()
    for family in (socket.AF_INET, socket.AF_INET6):
        for entry in there.get(interface, ()):
            if entry.family == family:
                return entry.address.partition("%")[0]
    raise MachineFault(f"interface {interface!r} has no address on this host; there are {', '.join(there)}")


def free_port(address: str) -> int:
    """Return a TCP port of one of our addresses that nobody listens on at this moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
