"""A gate with its audit: judges the messages of one listener and tells of what it turned away."""

from typing import Final

import msgspec

from tetrad_transport.gate import Gate, NotAllowedError
from tetrad_transport.keys.keyring import Keyring
from tetrad_transport.keys.role import PublicKey
from tetrad_transport.refusal import OnRefusal, Reason, Refusal
from tetrad_wire.messages.refusals import Refused

# Of what a peer sent, in a line of a log.
MAX_DETAIL: Final = 200


class Guard:
    """Made for one listener."""

    def __init__(self, keyring: Keyring, endpoint: str, *, on_refusal: OnRefusal) -> None:
        self._keyring = keyring
        self._gate = Gate(keyring.find)
        self._endpoint = endpoint
        self._on_refusal = on_refusal

    def judge(self, key: PublicKey, body: msgspec.Struct) -> Refused | None:
        """What the holder of `key` is to be told instead; None if it may send `body`."""
        try:
            self._gate.check(key, body)
        except NotAllowedError as error:
            name = error.grant.key_name if error.grant is not None else ""
            self._tell(Reason(error.code.value), str(error), key, name)
            return Refused(code=error.code, reason=str(error))
        return None

    def note(self, detail: str, key: PublicKey) -> None:
        """A message broke the protocol before it could be judged."""
        grant = self._keyring.find(key)
        self._tell(Reason.BAD_MESSAGE, detail, key, grant.key_name if grant is not None else "")

    def _tell(self, reason: Reason, detail: str, key: PublicKey, key_name: str) -> None:
        self._on_refusal(
            Refusal(reason=reason, endpoint=self._endpoint, detail=detail[:MAX_DETAIL], key=key, key_name=key_name)
        )
