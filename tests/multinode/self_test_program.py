"""One rank that tests itself against the others, and says what came of it."""

import os
import sys
from pathlib import Path

import torch.distributed as dist

from tetrad_learner.rank.board import SelfTestError
from tetrad_learner.rank.self_test import Subject, self_test


def main(run_config: str, checkpoints: str) -> int:
    os.environ["LOCAL_WORLD_SIZE"] = "1"
    try:
        self_test(Subject(run_config=Path(run_config), checkpoints=Path(checkpoints)), device="cpu", timeout_s=60.0)
    except SelfTestError as error:
        print(error)
        return int(error.exit_code)
    print(f"joined {dist.get_world_size()}")
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
