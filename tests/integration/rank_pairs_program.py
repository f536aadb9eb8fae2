"""One rank of three that meets the others; rank 2 freezes after the first round."""

import os
import signal
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore

from tetrad_learner.rank.board import Board, SelfTestError
from tetrad_learner.rank.pairs import meet_all
from tetrad_learner.rank.parity import RankFacts


class FreezingBoard(Board):
    """Of a rank that stops for good once it has told of the first round."""

    def exchange(self, name, mine, **limits):
        told = super().exchange(name, mine, **limits)
        if name == "pairs/cpu/1":
            os.kill(os.getpid(), signal.SIGSTOP)
        return told


def facts(rank: int) -> RankFacts:
    same = dict.fromkeys(("python", "torch", "cuda", "nccl", "tetrad", "config", "nonce"), "")
    return RankFacts(rank=rank, host="here", address="127.0.0.1", interface="lo", port=0, device="cpu", **same)


def main(rank: int, port: int, is_frozen: bool) -> int:
    store = dist.TCPStore("127.0.0.1", port, 3, is_master=rank == 0, timeout=timedelta(seconds=100))
    dist.init_process_group("gloo", store=PrefixStore("ranks", store), rank=rank, world_size=3)
    board = (FreezingBoard if is_frozen and rank == 2 else Board)(store, rank=rank, world_size=3)
    everyone = [facts(one) for one in range(3)]
    try:
        met = meet_all("cpu", everyone, board, device=torch.device("cpu"), timeout_s=2.0 if is_frozen else 60.0)
    except SelfTestError as error:
        print(error, flush=True)
        os._exit(int(error.exit_code))
    print(sorted((one.low, one.high) for one in met), all(one.bytes_per_s > 0 for one in met))
    board.exchange("end", ())
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "frozen"))
