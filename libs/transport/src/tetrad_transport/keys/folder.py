"""A folder of keys: `private/`, `public/` (who is admitted) and `revoked/` (who never is), one file for each key.

Owns the layout, and what `tetrad keys` does with it. A host needs `private/` of its own roles only, and `public/` of
those that it talks to.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from tetrad_transport.keys import files
from tetrad_transport.keys.allowed import AllowedKeys, Grant, allow
from tetrad_transport.keys.curve import new_pair
from tetrad_transport.keys.errors import KeysError
from tetrad_transport.keys.files import MAX_NAME, SUFFIX, KeyRecord
from tetrad_transport.keys.role import KeyRole

PUBLIC: Final = "public"
PRIVATE: Final = "private"
REVOKED: Final = "revoked"
# Processes see a change of the folder within a second; this long the former key still opens the door.
ROTATION_GRACE_S: Final = 60.0
_FORMER: Final = "former-"
# The prefix, eight digits and a dash.
_FORMER_BYTES: Final = len(_FORMER) + 9


class KeyFolder:
    """Keys on disk."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def init(self) -> list[KeyRecord]:
        """Make the folder and one key for each role that has none; return those that were made."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, mode in ((PRIVATE, 0o700), (PUBLIC, 0o755), (REVOKED, 0o755)):
            (self.path / name).mkdir(mode=mode, exist_ok=True)
            (self.path / name).chmod(mode)
        missing = [role for role in KeyRole if not self.public_path(role).exists()]
        return [self._make(KeyRecord(name=role, role=role, public_key=new_pair().public_key)) for role in missing]

    def add(self, role: KeyRole, name: str, *, replicas: str | None = None) -> KeyRecord:
        """Make one more key of a role, for processes called `name` unless `replicas` says otherwise."""
        self._require()
        if self.public_path(name).exists():
            raise KeysError(f"there is a key {name!r} already; choose another name, or `tetrad keys rotate {name}`")
        pattern = name if replicas is None else replicas
        return self._make(KeyRecord(name=name, role=role, replicas=pattern, public_key=new_pair().public_key))

    def revoke(self, name: str) -> KeyRecord:
        """Admit a key no more, nor what it was before its rotation; its private file is removed where it is here."""
        record = self._public(name)
        if record.role is KeyRole.COORDINATOR:
            raise KeysError(
                f"{name} is the key of the coordinator, which everyone relies on; `tetrad keys rotate {name}`"
            )
        for one in [record, *self._former(name)]:
            files.write_public(self.path / REVOKED / f"{one.name}-{_digits(one)}{SUFFIX}", one)
            self.public_path(one.name).unlink()
        self.private_path(name).unlink(missing_ok=True)
        return record

    def rotate(self, name: str, *, grace_s: float = ROTATION_GRACE_S) -> KeyRecord:
        """Give a key a new pair; the former public key is admitted for `grace_s` more."""
        former = self._public(name)
        for one in self._former(name):
            if _state(one, time.time()) == "over":
                self.public_path(one.name).unlink()
        stamp = f"{_FORMER}{_digits(former)}-{name}"[:MAX_NAME]
        files.write_public(self.public_path(stamp), replace(former, name=stamp, until=time.time() + grace_s))
        return self._make(former)

    def records(self) -> list[tuple[KeyRecord, str]]:
        """Every public key that is here with its state: active, former, over or revoked."""
        now = time.time()
        found = [(one, _state(one, now)) for one in self._read_all(PUBLIC)]
        return found + [(one, "revoked") for one in self._read_all(REVOKED)]

    def allowed(self) -> tuple[AllowedKeys, list[str]]:
        """Read who is admitted, and what is wrong with files that were passed over."""
        problems: list[str] = []
        records = list(self._read_all(PUBLIC, problems))
        # A revoked key counts by whatever file names it, even one that others may write.
        revoked = {one.public_key for one in self._read_all(REVOKED, problems)}
        grants = [
            (one.public_key, Grant(key_name=one.name, role=one.role, replicas=one.replicas, until=one.until))
            for one in records
        ]
        return allow(grants, revoked=revoked), problems

    def signature(self) -> tuple[tuple[str, int, int, int], ...]:
        """What changes whenever a file of a key does."""
        found: list[tuple[str, int, int, int]] = []
        for folder in (PUBLIC, PRIVATE, REVOKED):
            for path in sorted((self.path / folder).glob(f"*{SUFFIX}")):
                try:
                    stat = path.stat()
                except OSError:
                    continue  # renamed at this moment; the next look sees it
                found.append((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_mode))
        return tuple(found)

    def public_path(self, name: str) -> Path:
        """Where the public file of a key is."""
        return self.path / PUBLIC / f"{name}{SUFFIX}"

    def private_path(self, name: str) -> Path:
        """Where the private file of a key is, if it is on this host."""
        return self.path / PRIVATE / f"{name}{SUFFIX}"

    def _make(self, record: KeyRecord) -> KeyRecord:
        pair = new_pair()
        made = replace(record, public_key=pair.public_key, secret_key=pair.secret_key)
        # The public half first: whoever has the private one is admitted already.
        files.write_public(self.public_path(made.name), made)
        files.write_private(self.private_path(made.name), made)
        return made

    def _public(self, name: str) -> KeyRecord:
        self._require()
        path = self.public_path(name)
        if not path.exists():
            known = sorted(one.stem for one in (self.path / PUBLIC).glob(f"*{SUFFIX}"))
            raise KeysError(f"there is no key {name!r} in {self.path}; keys are {', '.join(known) or 'none'}")
        return files.read_public(path)

    def _former(self, name: str) -> list[KeyRecord]:
        own = name[: MAX_NAME - _FORMER_BYTES]
        return [one for one in self._read_all(PUBLIC) if one.until is not None and one.name[_FORMER_BYTES:] == own]

    def _require(self) -> None:
        if not (self.path / PUBLIC).is_dir():
            raise KeysError(f"{self.path} has no keys; make them with `tetrad keys init`")

    def _read_all(self, folder: str, problems: list[str] | None = None) -> Iterator[KeyRecord]:
        place = self.path / folder
        if not place.is_dir():
            return
        files.check_folder(place)
        for path in sorted(place.glob(f"*{SUFFIX}")):
            try:
                yield files.read_public(path)
            except KeysError as error:
                if problems is None:
                    raise
                problems.append(str(error))


def _digits(record: KeyRecord) -> str:
    """Eight digits that tell this pair of a key from the next."""
    return record.public_key.encode()[:4].hex()


def _state(record: KeyRecord, now: float) -> str:
    if record.until is None:
        return "active"
    return "former" if record.until >= now else "over"
