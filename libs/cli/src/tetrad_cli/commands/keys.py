"""`tetrad keys`: the keys by which services know each other over TCP. Shows no secret but by `export --k8s`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tetrad_transport.keys.files import KeyRecord
    from tetrad_transport.keys.folder import KeyFolder

ROLES: Final = ("coordinator", "trainer", "rollout", "reward", "broadcaster")
SERVICES: Final = ("learner", "broadcaster", "reward", "rollout", "host")
SHARES: Final = (*SERVICES, "agent")


def main(argv: Sequence[str]) -> int:
    """Run the command; 78 where the keys or the words about them are wrong."""
    arguments = _parser().parse_args(argv)
    from tetrad_cli.key_place import key_folder
    from tetrad_runtime.exits import ExitCode
    from tetrad_transport.keys import KeysError
    from tetrad_transport.keys.folder import KeyFolder

    act: Callable[[KeyFolder, argparse.Namespace], None] = arguments.act
    try:
        act(KeyFolder(key_folder(os.environ, given=arguments.folder)), arguments)
    except (KeysError, OSError) as error:
        print(f"tetrad keys: {error}", file=sys.stderr)
        return int(ExitCode.CONFIG)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tetrad keys",
        description="Make, list, rotate and revoke the keys of services. Running services follow within seconds.",
    )
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--folder", metavar="DIR", help="folder of keys; default TETRAD_KEYS, or ~/.config/tetrad/keys")
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    init = actions.add_parser("init", parents=[place], help="make the folder, and a key for each role that has none")
    init.set_defaults(act=_init)
    add = actions.add_parser("add", parents=[place], help="make one more key of a role")
    add.add_argument("role", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    add.add_argument("name", metavar="NAME", help="of the key, and of the one process that may use it")
    add.add_argument("--replicas", metavar="PATTERN", help="processes that may use it instead, such as 'rollout-7*'")
    add.set_defaults(act=_add)
    listing = actions.add_parser("list", parents=[place], help="show every key and its state")
    listing.set_defaults(act=_list)
    revoke = actions.add_parser("revoke", parents=[place], help="admit a key no more")
    revoke.add_argument("name", metavar="NAME")
    revoke.set_defaults(act=_revoke)
    rotate = actions.add_parser("rotate", parents=[place], help="replace a key; the old one is admitted a while longer")
    rotate.add_argument("name", metavar="NAME")
    rotate.add_argument("--grace", type=float, default=60.0, metavar="S", help="of the old key; default 60 seconds")
    rotate.set_defaults(act=_rotate)
    _add_export(actions.add_parser("export", parents=[place], help="hand over the keys that each service needs"))
    return parser


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument(
        "shares",
        nargs="*",
        type=_share,
        metavar="SHARE",
        help=f"{', '.join(SERVICES)}, which is the default; or agent, for the host of a `tetrad agent`",
    )
    way = export.add_mutually_exclusive_group(required=True)
    way.add_argument("--into", type=Path, metavar="DIR", help="make DIR/SHARE, a folder of keys, for each")
    way.add_argument("--k8s", action="store_true", help="print Secrets for `kubectl apply -f -`, with what is in them")
    export.set_defaults(act=_export)


def _share(name: str) -> str:
    if name not in SHARES:
        raise argparse.ArgumentTypeError(f"{name!r} has no share of keys; there are those of {', '.join(SHARES)}")
    return name


def _init(folder: "KeyFolder", _arguments: argparse.Namespace) -> None:
    made = folder.init()
    for record in made:
        _say("made", record)
    if not made:
        print(f"every role has a key in {folder.path}")
    print(f"use them with TETRAD_KEYS={folder.path}")


def _add(folder: "KeyFolder", arguments: argparse.Namespace) -> None:
    from tetrad_transport.keys import KeyRole

    record = folder.add(KeyRole(arguments.role), arguments.name, replicas=arguments.replicas)
    _say("made", record)
    print(f"its process needs {folder.private_path(record.name)}, and whoever it connects to needs the public file")


def _list(folder: "KeyFolder", _arguments: argparse.Namespace) -> None:
    records = folder.records()
    if not records:
        print(f"no keys in {folder.path}; make them with `tetrad keys init`")
        return
    print(f"{'NAME':<24} {'ROLE':<12} {'PROCESSES':<16} {'STATE':<8} {'PRIVATE':<8} PUBLIC KEY")
    for record, state in records:
        is_here = "here" if folder.private_path(record.name).exists() else "-"
        place = f"{record.name:<24} {record.role:<12} {record.replicas:<16}"
        print(f"{place} {state:<8} {is_here:<8} {record.public_key}")


def _revoke(folder: "KeyFolder", arguments: argparse.Namespace) -> None:
    _say("revoked", folder.revoke(arguments.name))
    print("services that read this folder refuse it within seconds; copy public/ and revoked/ to the other hosts")


def _rotate(folder: "KeyFolder", arguments: argparse.Namespace) -> None:
    _say("rotated", folder.rotate(arguments.name, grace_s=arguments.grace))
    print(f"the former key is admitted for {arguments.grace:g} s more")


def _export(folder: "KeyFolder", arguments: argparse.Namespace) -> None:
    from tetrad_transport.keys.shares import share_of, write_share

    names: Sequence[str] = arguments.shares or SERVICES
    if arguments.k8s:
        from tetrad_cli.key_secrets import secrets_list

        print(secrets_list({name: share_of(folder, name) for name in names}))
        return
    for name in names:
        target: Path = arguments.into / name
        write_share(folder, name, target)
        print(f"the keys of {name} are in {target}")


def _say(what: str, record: "KeyRecord") -> None:
    print(f"{what} {record.name}: {record.role}, for {record.replicas}, {record.public_key}")
