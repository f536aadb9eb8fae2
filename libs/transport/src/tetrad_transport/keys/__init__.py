"""Keys of CURVE: their files, who is admitted, and what each may say."""

from tetrad_transport.keys.allowed import AllowedKeys, Grant
from tetrad_transport.keys.errors import KeysError
from tetrad_transport.keys.keyring import Keyring
from tetrad_transport.keys.role import KeyRole, PublicKey

__all__ = ["AllowedKeys", "Grant", "KeyRole", "Keyring", "KeysError", "PublicKey"]
