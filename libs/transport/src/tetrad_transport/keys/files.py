"""One key in one file, as TOML that a person can read; a private one is readable by its owner alone.

Owns the format and the permissions. Which files there are is `folder.py`'s business.
"""

import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tetrad_transport.keys.errors import KeysError
from tetrad_transport.keys.role import KeyRole, PublicKey

SUFFIX: Final = ".key"
MAX_FILE_BYTES: Final = 4096
# Private files: nobody else may read. Public ones: nobody else may write, or he could admit himself.
PRIVATE_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644
_OTHERS: Final = 0o077
_OTHERS_WRITE: Final = 0o022
MAX_NAME: Final = 64
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_REPLICAS: Final = re.compile(r"[a-z0-9*?-]{1,64}")
_Z85: Final = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_PUBLIC_HEAD: Final = "# A public key of Tetrad: no secret. Who may write this folder decides who is admitted.\n"
_PRIVATE_HEAD: Final = "# A private key of Tetrad: whoever reads this file can act as its role.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What the file of a key says."""

    name: str
    """Of the key, and of its file."""
    role: KeyRole
    replicas: str = "*"
    """Pattern of the names of processes that it is for, such as `rollout-7` or `rollout-*`."""
    public_key: PublicKey
    until: float | None = None
    """Seconds since 1970 after which it is admitted no more; None has no end."""
    secret_key: str = field(default="", repr=False)
    """Empty in a public file."""

    def __post_init__(self) -> None:
        """Refuse what cannot be a key."""
        if not _NAME.fullmatch(self.name):
            raise KeysError(f"key name {self.name!r}: use a-z, 0-9 and -, at most 64, a letter first")
        if not _REPLICAS.fullmatch(self.replicas):
            raise KeysError(f"replicas {self.replicas!r}: use a-z, 0-9, -, and the wildcards * and ?; at most 64")
        if not _Z85.fullmatch(self.public_key):
            raise KeysError(f"public key of {self.name}: it needs 40 characters of Z85")
        if self.secret_key and not _Z85.fullmatch(self.secret_key):
            raise KeysError(f"secret key of {self.name}: it needs 40 characters of Z85")


def read_public(path: Path) -> KeyRecord:
    """Read a public file; raise KeysError unless nobody else may write it."""
    _check_mode(path, _OTHERS_WRITE, "others may write it", fix=f"chmod {PUBLIC_MODE:o} {path}")
    return _read(path)


def read_private(path: Path) -> KeyRecord:
    """Read a private file; raise KeysError unless its owner alone may read it."""
    _check_mode(path, _OTHERS, "others may read or write it", fix=f"chmod {PRIVATE_MODE:o} {path}")
    record = _read(path)
    if not record.secret_key:
        raise KeysError(f"{path} has no secret_key; make the key anew with `tetrad keys rotate {record.name}`")
    return record


def write_public(path: Path, record: KeyRecord) -> None:
    """Write all but the secret."""
    write_text(path, _PUBLIC_HEAD + _text(record, secret_key=""), PUBLIC_MODE)


def write_private(path: Path, record: KeyRecord) -> None:
    """Write everything, for the owner alone."""
    write_text(path, _PRIVATE_HEAD + _text(record, secret_key=record.secret_key), PRIVATE_MODE)


def check_folder(path: Path) -> None:
    """Raise KeysError unless nobody else may write the folder."""
    _check_mode(path, _OTHERS_WRITE, "others may write it", fix=f"chmod go-w {path}")


def _check_mode(path: Path, forbidden: int, trouble: str, *, fix: str) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from error
    if mode & forbidden:
        raise KeysError(f"{path} has mode {mode:04o}: {trouble}; {fix}")


def _read(path: Path) -> KeyRecord:
    try:
        with path.open("rb") as file:
            values = tomllib.loads(file.read(MAX_FILE_BYTES).decode())
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        # Its text may quote the file, and so the secret.
        raise KeysError(f"{path} is no file of a key ({type(error).__name__})") from None
    try:
        return KeyRecord(
            name=str(values["name"]),
            role=KeyRole(values["role"]),
            replicas=str(values.get("replicas", "*")),
            public_key=PublicKey(str(values["public_key"])),
            until=float(values["until"]) if "until" in values else None,
            secret_key=str(values.get("secret_key", "")),
        )
    except KeyError as error:
        raise KeysError(f"{path} does not say {error}") from error
    except (TypeError, ValueError) as error:
        raise KeysError(f"{path}: {error}") from error


def _text(record: KeyRecord, *, secret_key: str) -> str:
    texts = {
        "name": record.name,
        "role": record.role.value,
        "replicas": record.replicas,
        "public_key": record.public_key,
        "secret_key": secret_key,
    }
    # No character of these needs an escape: see the patterns above.
    lines = [f'{key} = "{text}"' for key, text in texts.items() if text]
    if record.until is not None:
        lines.append(f"until = {record.until:.0f}")
    return "\n".join(lines) + "\n"


def write_text(path: Path, text: str, mode: int) -> None:
    """Write the file of a key; a reader sees the old one or the new one."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
