"""What a host needs of a folder of keys: the private keys of what runs there, and the public ones of whom it meets.

Owns the table. A share is handed over as files with the same names, in a folder or in a Secret of Kubernetes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_transport.keys import files
from tetrad_transport.keys.errors import KeysError
from tetrad_transport.keys.files import SUFFIX
from tetrad_transport.keys.folder import PRIVATE, PUBLIC, REVOKED, KeyFolder
from tetrad_transport.keys.role import KeyRole


@dataclass(frozen=True, slots=True)
class Share:
    """Roles whose shared private key is handed over, and roles that are known there."""

    acts_as: tuple[KeyRole, ...]
    knows: tuple[KeyRole, ...]
    is_door: bool = True
    """Whether something binds there, and has to know who was revoked."""


_SERVER: Final = (KeyRole.COORDINATOR,)
SHARES: Final[Mapping[str, Share]] = {
    "learner": Share((KeyRole.COORDINATOR, KeyRole.TRAINER), tuple(KeyRole)),
    # Relays have the key of a broadcaster.
    "broadcaster": Share((KeyRole.BROADCASTER,), (*_SERVER, KeyRole.TRAINER, KeyRole.ROLLOUT, KeyRole.BROADCASTER)),
    "reward": Share((KeyRole.REWARD,), (*_SERVER, KeyRole.ROLLOUT)),
    "rollout": Share((KeyRole.ROLLOUT,), _SERVER, is_door=False),
    "host": Share((KeyRole.TRAINER,), _SERVER, is_door=False),
    # Of `tetrad agent`: ranks, engines behind a relay, rewards.
    "agent": Share(
        (KeyRole.TRAINER, KeyRole.ROLLOUT, KeyRole.BROADCASTER, KeyRole.REWARD), (*_SERVER, KeyRole.ROLLOUT)
    ),
}
"""By the name of what runs there."""


def share_of(folder: KeyFolder, name: str) -> dict[str, str]:
    """Return the files of a share: `private/rollout.key` and so on, and what is in them. Raises KeysError."""
    share = SHARES[name]
    found: dict[str, str] = {}
    for role in share.acts_as:
        path = folder.private_path(role)
        files.read_private(path)
        found[f"{PRIVATE}/{path.name}"] = path.read_text()
    folder.records()  # raises where others may write
    for path in sorted((folder.path / PUBLIC).glob(f"*{SUFFIX}")):
        if files.read_public(path).role in share.knows:
            found[f"{PUBLIC}/{path.name}"] = path.read_text()
    if share.is_door:
        found |= {f"{REVOKED}/{path.name}": path.read_text() for path in (folder.path / REVOKED).glob(f"*{SUFFIX}")}
    return dict(sorted(found.items()))


def write_share(folder: KeyFolder, name: str, target: Path) -> None:
    """Make `target` the folder of a share; keys that it is not to have (any more) are removed. Raises KeysError."""
    if target.resolve() == folder.path.resolve():
        raise KeysError(f"{target} is the folder of all keys; name another one for the share of {name}")
    contents = share_of(folder, name)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for kind, mode in ((PRIVATE, 0o700), (PUBLIC, 0o755), (REVOKED, 0o755)):
        (target / kind).mkdir(mode=mode, exist_ok=True)
        (target / kind).chmod(mode)
        for path in (target / kind).glob(f"*{SUFFIX}"):
            if f"{kind}/{path.name}" not in contents:
                path.unlink()
    for place, text in contents.items():
        mode = files.PRIVATE_MODE if place.startswith(PRIVATE) else files.PUBLIC_MODE
        files.write_text(target / place, text, mode)
