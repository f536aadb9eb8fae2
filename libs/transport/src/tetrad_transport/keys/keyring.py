"""The keys as one process sees them: its own pair, the coordinator's public key, and who is admitted.

Owns what was read last. `refresh` reads files and may be slow: call it from a thread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_transport.keys import files
from tetrad_transport.keys.allowed import AllowedKeys, Grant
from tetrad_transport.keys.curve import KeyPair
from tetrad_transport.keys.errors import KeysError
from tetrad_transport.keys.folder import KeyFolder
from tetrad_transport.keys.role import KeyRole, PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One look at the folder."""

    own: KeyPair
    coordinator: PublicKey
    allowed: AllowedKeys


class Keyring:
    """Raises KeysError where the folder has not what the process needs."""

    def __init__(
        self, folder: Path, *, role: KeyRole, name: str, on_problem: Callable[[str], None] = lambda _text: None
    ) -> None:
        self.role: Final = role
        self._folder = KeyFolder(folder)
        self._name = name
        self._on_problem = on_problem
        self._path = self._own_path()
        self._signature = self._folder.signature()
        self._read = self._look()

    @property
    def own(self) -> KeyPair:
        """Our pair."""
        return self._read.own

    @property
    def coordinator(self) -> PublicKey:
        """By which we recognise the coordinator."""
        return self._read.coordinator

    def find(self, key: PublicKey) -> Grant | None:
        """What a key stands for now; None where it is not admitted."""
        return self._read.allowed.find(key, now=time.time())

    def was_admitted(self, key: PublicKey) -> bool:
        """Whether it is a key that was revoked, or is over."""
        return self._read.allowed.was_admitted(key)

    def refresh(self) -> bool:
        """Read again if a file has changed; return whether our own pair or the coordinator's key did.

        What cannot be read leaves our own pair as it was, and admits nobody new.
        """
        signature = self._folder.signature()
        if signature == self._signature:
            return False
        self._signature = signature
        former = self._read
        try:
            self._read = self._look()
        except KeysError as error:
            self._on_problem(str(error))
            self._read = self._only_who_is_left(former)
        return (self._read.own, self._read.coordinator) != (former.own, former.coordinator)

    def _look(self) -> _Read:
        allowed, problems = self._folder.allowed()
        for problem in problems:
            self._on_problem(problem)
        return _Read(own=self._own(), coordinator=self._coordinator(), allowed=allowed)

    def _only_who_is_left(self, former: _Read) -> _Read:
        try:
            allowed, _problems = self._folder.allowed()
        except KeysError:
            # The registry itself is open to others, or gone: who is in stays out until somebody has repaired it.
            allowed = AllowedKeys()
        return _Read(own=former.own, coordinator=former.coordinator, allowed=allowed)

    def _own_path(self) -> Path:
        """The key of this very process, or else that of its role; chosen once, so that a revoked one stays ours."""
        own, shared = self._folder.private_path(self._name), self._folder.private_path(self.role)
        for path in (own, shared):
            if path.exists():
                return path
        raise KeysError(
            f"no private key for {self._name}: there is neither {own} nor {shared}; make keys with "
            "`tetrad keys init`, or copy the file from where they were made"
        )

    def _own(self) -> KeyPair:
        record = files.read_private(self._path)
        if record.role is not self.role:
            raise KeysError(f"{self._path} is the key of a {record.role}; {self._name} is a {self.role}")
        return KeyPair(record.public_key, record.secret_key)

    def _coordinator(self) -> PublicKey:
        path = self._folder.public_path(KeyRole.COORDINATOR)
        if not path.exists():
            raise KeysError(f"{path} is missing: without it nobody can tell the coordinator from a stranger; copy it")
        return files.read_public(path).public_key
