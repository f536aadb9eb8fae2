"""Shards that the processes of one engine hold, put together and digested: real process groups, over gloo."""

import multiprocessing
from collections.abc import Sequence
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tetrad_rollout.engine.sglang import held_shards
from tetrad_rollout.engine.sglang.held_digests import digests_of
from tetrad_rollout.engine.sglang.held_shards import TorchGroup, digests_over, wholes

SHAPES = {"rows": (4, 6), "columns": (4, 6), "norm": (6,), "padded": (5, 2)}
DEADLINE_S = 60


def a_tensor(name: str) -> Tensor:
    return torch.arange(torch.Size(SHAPES[name]).numel()).reshape(SHAPES[name]).to(torch.bfloat16)


def shards_of(name: str, size: int) -> Sequence[Tensor]:
    """As SGLang cuts them."""
    whole = a_tensor(name)
    match name:
        case "rows":
            return whole.chunk(size, dim=0)
        case "columns":
            return whole.chunk(size, dim=1)
        case "padded":
            return torch.cat((whole, torch.full((3, 2), 7.0, dtype=torch.bfloat16))).chunk(size, dim=0)
        case _:
            return [whole] * size


@pytest.mark.parametrize("name", SHAPES)
def test_shards_make_up_what_they_were_cut_from(name: str) -> None:
    made = wholes(shards_of(name, 2), SHAPES[name])

    assert all(torch.equal(whole, a_tensor(name)) for whole in made)
    assert len(made) == (2 if name == "norm" else 1)


def test_heads_that_neighbours_share_are_put_together_once_for_each_of_them() -> None:
    first, second = a_tensor("rows").chunk(2, dim=0)

    made = wholes([first, first, second, second], SHAPES["rows"])

    assert [torch.equal(whole, a_tensor("rows")) for whole in made] == [True, True]


@pytest.mark.parametrize("shape", [(6, 6), (4, 12, 1), (12, 12)])
def test_shards_of_another_tensor_make_up_nothing(shape: Sequence[int]) -> None:
    assert wholes(shards_of("rows", 2), shape) == []


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store, deadline = dist.FileStore(f"{folder}/store", 2), timedelta(seconds=DEADLINE_S)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=deadline)
    group = TorchGroup(dist.new_group([0, 1]))
    # Several batches: each tensor is a collective of its own then.
    held_shards.MOST_BYTES = 50  # type: ignore[misc]  # smaller than what the constant is for
    tensors = {name: shards_of(name, 2)[rank].clone() for name in SHAPES}
    right = digests_over(group, tensors, SHAPES, "xxh3_128")
    tensors["norm"][-1] += rank
    wrong = digests_over(group, tensors, SHAPES, "xxh3_128")
    torch.save((right, wrong), f"{folder}/{rank}")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, str], dict[str, str]]]:
    """What each of two processes returns: first with the right bytes, then with a wrong one on the second."""
    folder = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_rank, args=(rank, str(folder))) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(DEADLINE_S)
        if rank.exitcode is None:
            rank.kill()
        assert rank.exitcode == 0
    return [torch.load(folder / str(rank)) for rank in range(2)]


def test_the_first_process_tells_the_digests_of_the_whole_tensors(told) -> None:
    (first, _), (second, _) = told

    assert first == digests_of({name: a_tensor(name) for name in SHAPES}, "xxh3_128")
    assert second == {}


def test_a_wrong_byte_on_the_second_process_shows_where_both_should_hold_the_same(told) -> None:
    (_, first), _ = told

    assert "GPUs that should hold the same hold" in first["norm"]
    rest = {name: digest for name, digest in first.items() if name != "norm"}
    assert rest == digests_of({name: a_tensor(name) for name in SHAPES if name != "norm"}, "xxh3_128")
