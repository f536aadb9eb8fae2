"""Before any model is loaded: whether these ranks can work together, and if not, who cannot and what to do.

Reachability of every pair, equal versions and run files, one folder for checkpoints, then an exchange of tensors by
every pair and a small all-reduce, by each way that gradients and facts will take. Ends in the process group that the
trainer then uses.
"""

import hashlib
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from tetrad_learner.rank.board import ARRIVAL_TIMEOUT_S, Board, SelfTestError
from tetrad_learner.rank.pairs import Met, meet_all
from tetrad_learner.rank.parity import RankFacts, differences
from tetrad_learner.rank.reachability import ask_all, listening
from tetrad_learner.trainer.ranks import BACKENDS, check_launched
from tetrad_runtime.network import address_of
from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)

ALL_REDUCE_TIMEOUT_S: Final = 60.0
ALL_REDUCE_BYTES: Final = 4 << 20
# A network file system shows a new file late.
FOLDER_TIMEOUT_S: Final = 15.0

_Found = tuple[list[str], float, str]
"""Problems, bytes per second of the slowest pair by TCP, and its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is tested beside the network."""

    run_config: Path
    """Read by every rank."""
    checkpoints: Path
    """A folder that every host must see."""


def self_test(subject: Subject, *, device: str, timeout_s: float) -> None:
    """Test, and join the process group whose collectives have `timeout_s`; raise SelfTestError on every rank alike.

    One rank alone has nobody to reach, and tests nothing.
    """
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world_size == 1:
        return
    began = time.monotonic()
    check_launched(os.environ)
    store, _rank, _world_size = next(rendezvous("env://", timeout=timedelta(seconds=ARRIVAL_TIMEOUT_S)))
    board = Board(store, rank=rank, world_size=world_size)
    interface = os.environ.get("GLOO_SOCKET_IFNAME", "lo").split(",")[0]
    nonce = secrets.token_hex(8)
    with listening(address_of(interface), nonce) as here, _marked(subject.checkpoints, nonce, is_marking=rank == 0):
        me = _facts(rank, subject, device=device, interface=interface, port=here.port, nonce=nonce)
        everyone = [msgspec.json.decode(one, type=RankFacts) for one in board.exchange("facts", me)]
        reached = ask_all(me, everyone)
        found = [*reached.failures, *_folder_problems(subject.checkpoints, me, everyone[0])]
        told = board.exchange("found", (found, reached.slowest, reached.slowest_pair))
    results = [msgspec.json.decode(one, type=_Found) for one in told]
    problems = [*differences(everyone), *(problem for found, _speed, _pair in results for problem in found)]
    if problems:
        raise SelfTestError(problems)
    dist.init_process_group(
        BACKENDS[device],
        store=PrefixStore("ranks", store),
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=timeout_s),
    )
    kinds = tuple(dict.fromkeys(("cpu", device)))
    met = {kind: meet_all(kind, everyone, board, device=_device(kind)) for kind in kinds}
    speeds = {kind: _all_reduce(kind, me) for kind in kinds}
    if rank == 0:
        log.info(
            "self_test_passed",
            world_size=world_size,
            hosts=len({facts.address for facts in everyone}),
            seconds=round(time.monotonic() - began, 2),
            **_slowest("tcp", [(speed, pair) for _found, speed, pair in results if pair]),
            **{name: value for kind in kinds for name, value in _pairs(kind, met[kind], everyone).items()},
            **{f"all_reduce_{kind}_mb_s": _mb_s(speed) for kind, speed in speeds.items()},
        )


def _pairs(kind: str, met: Sequence[Met], everyone: Sequence[RankFacts]) -> dict[str, object]:
    """For the log: the bandwidth of every pair, and which is the slowest."""
    speeds = [(one.bytes_per_s, f"{everyone[one.low]} and {everyone[one.high]}") for one in met]
    each = {f"{one.low}-{one.high}": _mb_s(one.bytes_per_s) for one in met}
    return {f"pairs_{kind}_mb_s": each, **_slowest(kind, speeds)}


def _slowest(way: str, speeds: Sequence[tuple[float, str]]) -> dict[str, object]:
    """For the log; nothing where no pair took that way."""
    if not speeds:
        return {}
    speed, pair = min(speeds)
    return {f"slowest_{way}_mb_s": _mb_s(speed), f"slowest_{way}_pair": pair}


def _mb_s(bytes_per_s: float) -> float:
    return round(bytes_per_s / 1e6, 1)


def _facts(rank: int, subject: Subject, *, device: str, interface: str, port: int, nonce: str) -> RankFacts:
    return RankFacts(
        rank=rank,
        host=platform.node(),
        address=address_of(interface),
        interface=interface,
        port=port,
        nonce=nonce,
        python=platform.python_version(),
        torch=str(torch.__version__),
        cuda=torch.version.cuda or "",
        nccl=_nccl_version() if device == "cuda" else "",
        device=device,
        tetrad=version("tetrad-learner"),
        config=hashlib.sha256(subject.run_config.read_bytes()).hexdigest()[:16],
    )


def _nccl_version() -> str:
    return ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call] # of torch


def _mark(folder: Path, nonce: str) -> Path:
    return folder / f".self-test-{nonce}"


@contextmanager
def _marked(folder: Path, nonce: str, *, is_marking: bool) -> Iterator[None]:
    """Leave a file in the folder within the block."""
    if not is_marking:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    _mark(folder, nonce).touch()
    try:
        yield
    finally:
        _mark(folder, nonce).unlink(missing_ok=True)


def _folder_problems(folder: Path, me: RankFacts, first: RankFacts) -> list[str]:
    if me.address == first.address or _within(FOLDER_TIMEOUT_S, _mark(folder, first.nonce).exists):
        return []
    return [
        f"trainer.ckpt_path={folder} is not one folder: what {first} writes there is not seen by {me}; set it to a "
        "folder that all hosts share, by its absolute path"
    ]


def _within(limit_s: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _all_reduce(kind: str, me: RankFacts) -> float:
    """Return the bytes per second of an all-reduce on one kind of device, once it is warm."""
    ones = torch.ones(ALL_REDUCE_BYTES // 4, device=_device(kind))
    seconds = 0.0
    try:
        for _ in range(2):
            values, began = ones.clone(), time.monotonic()
            dist.all_reduce(values, async_op=True).wait(timedelta(seconds=ALL_REDUCE_TIMEOUT_S))
            is_right = bool((values == dist.get_world_size()).all())
            seconds = time.monotonic() - began
    except RuntimeError as error:
        raise SelfTestError(
            [f"all-reduce on {kind} at {me}: {error}; see NCCL_DEBUG=INFO for what NCCL chose"]
        ) from error
    if not is_right:
        raise SelfTestError([f"all-reduce on {kind} at {me} gave another sum than {dist.get_world_size()} ones"])
    return ALL_REDUCE_BYTES / seconds


def _device(kind: str) -> torch.device:
    if kind == "cpu":
        return torch.device("cpu")
    index = int(os.environ.get("LOCAL_RANK", "0"))
    torch.cuda.set_device(index)
    return torch.device(kind, index)
