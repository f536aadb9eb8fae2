"""The protocol version and the compatibility rule.

Within one version only optional fields are added. A removal, a rename or a change of meaning is a new
version, and peers of different versions refuse each other.
"""

from typing import Final

PROTOCOL_VERSION: Final = 1
