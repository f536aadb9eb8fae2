"""Whether every two ranks exchange tensors by the way that collectives take, and how fast; who does not is named.

In each round a rank meets one other, and no round begins before all have told of the one before: a pair that is late
makes nobody else look late. Owns a process group for the time of the test, whose communicators go with it.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec
import torch
import torch.distributed as dist

from tetrad_learner.rank.board import Board, SelfTestError
from tetrad_learner.rank.parity import RankFacts

PAIR_TIMEOUT_S: Final = 60.0
# For those who wait for a pair to tell that it was late.
SLACK_S: Final = 10.0
PAIR_BYTES: Final = 4 << 20
# Up to so many ranks everyone meets everyone; more meet those at distances of powers of two, so that a thousand ranks
# take ten rounds.
MAX_RANKS_OF_ALL_PAIRS: Final = 16

FIXES: Final = {
    "cpu": "open all TCP ports between the two, or name interfaces that reach each other in GLOO_SOCKET_IFNAME",
    "cuda": "NCCL_DEBUG=INFO says what NCCL chose; NCCL_P2P_DISABLE=1 on all ranks leaves out direct copies of GPUs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """Two ranks that exchanged tensors."""

    low: int
    """The lower rank."""
    high: int
    bytes_per_s: float


def rounds(world_size: int) -> list[int]:
    """Return the masks of all rounds: in each, rank r meets r ^ mask, where there is such a rank.

    >>> rounds(4)
    [1, 2, 3]
    >>> rounds(32)
    [1, 2, 4, 8, 16]
    """
    masks = range(1, 1 << (world_size - 1).bit_length())
    return [mask for mask in masks if world_size <= MAX_RANKS_OF_ALL_PAIRS or mask.bit_count() == 1]


def meet_all(
    kind: str,
    everyone: Sequence[RankFacts],
    board: Board,
    *,
    device: torch.device,
    timeout_s: float = PAIR_TIMEOUT_S,
) -> list[Met]:
    """Have this rank meet the others on one kind of device; return what all pairs did.

    Raises SelfTestError naming the pairs of the first round in which any failed, on every rank alike.
    """
    rank, world_size = dist.get_rank(), dist.get_world_size()
    met: list[Met] = []
    with _group(timeout_s) as group:
        for mask in rounds(world_size):
            found, speed, other = [], 0.0, rank ^ mask
            if other < world_size:
                try:
                    speed = _within(timeout_s + 1.0, lambda other=other: _exchange(other, group, device, timeout_s))  # type: ignore[misc]
                except (RuntimeError, TimeoutError) as error:
                    found.append(_failure(kind, everyone[min(rank, other)], everyone[max(rank, other)], error))
            met += _told(board, f"pairs/{kind}/{mask}", found, speed, mask=mask, limit_s=timeout_s + SLACK_S)
    return met


def _told(board: Board, name: str, found: list[str], speed: float, *, mask: int, limit_s: float) -> Iterator[Met]:
    """What all ranks tell of a round."""
    try:
        told = board.exchange(name, (found, speed), timeout_s=limit_s)
    except SelfTestError as error:
        raise SelfTestError([*found, *error.problems]) from error
    results = [msgspec.json.decode(one, type=tuple[list[str], float]) for one in told]
    if problems := list(dict.fromkeys(problem for found, _speed in results for problem in found)):
        raise SelfTestError(problems)
    for low, (_found, bytes_per_s) in enumerate(results):
        if low < low ^ mask < len(results):
            yield Met(low=low, high=low ^ mask, bytes_per_s=bytes_per_s)


@contextmanager
def _group(timeout_s: float) -> Iterator[dist.ProcessGroup]:
    """A group of all ranks within the block; its own watchdog is later than we are."""
    group = dist.new_group(timeout=timedelta(seconds=timeout_s + SLACK_S))
    assert group is not None, "of all ranks"
    yield group
    # Not after a failure: it would wait for who is late.
    dist.destroy_process_group(group)


def _exchange(other: int, group: dist.ProcessGroup, device: torch.device, timeout_s: float) -> float:
    """Return the bytes per second there and back, once the way is warm; the lower rank sends first."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    rank, limit = dist.get_rank(), timedelta(seconds=timeout_s)
    mine = torch.full((PAIR_BYTES // 4,), float(rank), device=device)
    theirs = torch.empty_like(mine)
    seconds = 0.0
    for _ in range(2):
        theirs.fill_(-1.0)
        began = time.monotonic()
        for is_sending in (rank < other, rank > other):
            work = dist.isend(mine, other, group) if is_sending else dist.irecv(theirs, other, group)
            assert work is not None, "this rank is in the group"
            work.wait(limit)
        is_right = bool((theirs == other).all())
        seconds = time.monotonic() - began
        if not is_right:
            raise RuntimeError("what came is not what was sent")
    return 2 * PAIR_BYTES / seconds


def _within(limit_s: float, work: Callable[[], float]) -> float:
    """Do it in a thread: the making of a communicator has no deadline of its own. Raises TimeoutError."""
    done: queue.SimpleQueue[float | RuntimeError] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(work())
        except RuntimeError as error:
            done.put(error)

    threading.Thread(target=run, name="pair", daemon=True).start()
    try:
        result = done.get(timeout=limit_s)
    except queue.Empty:
        raise TimeoutError(f"not done after {limit_s:g} s") from None
    if isinstance(result, RuntimeError):
        raise result
    return result


def _failure(kind: str, low: RankFacts, high: RankFacts, error: Exception) -> str:
    return f"{low} and {high} do not exchange {PAIR_BYTES >> 20} MiB on {kind}: {error}; {FIXES[kind]}"
