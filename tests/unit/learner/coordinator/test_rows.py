from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.learner.coordinator.journal_builders import a_journal_sample, a_journal_step

from tetrad_learner.coordinator.rows import mini_batch_ends, rows_of_ranks
from tetrad_trajectories.journal import places, read_step, write_step


def samples_of(*group_sizes: int):
    return [a_journal_sample(draw, index) for draw, size in enumerate(group_sizes) for index in range(size)]


@pytest.mark.parametrize(
    ("sizes", "prompts", "ends"),
    [
        ((2, 2, 2, 2), 2, (4, 8)),
        ((2, 2, 2, 2), 4, (8,)),
        ((2, 2, 2, 2), 1, (2, 4, 6, 8)),
        ((2, 1, 2), 2, (3, 5)),
        ((1, 3, 2, 2), 3, (6, 8)),
        ((2, 2), 8, (4,)),
    ],
)
def test_mini_batches_are_cut_between_prompts(sizes, prompts, ends) -> None:
    assert mini_batch_ends(places(samples_of(*sizes)), prompts_per_mini_batch=prompts) == ends


def test_every_rank_gets_all_rewards_and_groups() -> None:
    step = a_journal_step([a_journal_sample(draw, i, reward=draw + i / 2) for draw in (3, 9) for i in (0, 1)])

    ranks = rows_of_ranks(step, lineage=2, batch_hash="hash", world_size=3)

    for rank in ranks:
        assert rank.rewards.tolist() == [3.0, 3.5, 9.0, 9.5]
        assert rank.groups.tolist() == [0, 0, 1, 1]
        assert (rank.step, rank.lineage, rank.batch_hash) == (1, 2, "hash")


def test_a_copy_is_a_group_of_its_own_and_the_file_gives_the_same_orders(tmp_path) -> None:
    samples = [a_journal_sample(draw, i, reward=draw + i / 2, num_sampled=3 + draw) for draw in (1, 4) for i in (0, 1)]
    copies = (2, 1)
    ends = mini_batch_ends(places(samples, copies), prompts_per_mini_batch=2)
    step = replace(a_journal_step(samples), multiplicities=copies, mini_batch_ends=ends)
    write_step(tmp_path / "step.parquet", step)

    before = rows_of_ranks(step, lineage=1, batch_hash="h", world_size=2)
    after = rows_of_ranks(read_step(tmp_path / "step.parquet"), lineage=1, batch_hash="h", world_size=2)

    assert before[0].groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert before[0].rewards.tolist() == [1.0, 1.5, 4.0, 4.5, 1.0, 1.5]
    assert sorted(index for rows in before for index in rows.sample_index.tolist()) == list(range(6))
    assert {int(cut) for rows in before for cut in rows.mini_batch[rows.sample_index >= 4]} == {1}
    for one, other in zip(before, after, strict=True):
        for name in one.__struct_fields__:
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_one_long_sample_weighs_as_much_as_many_short_ones() -> None:
    lengths = [40, 10, 10, 10, 10]
    step = a_journal_step([a_journal_sample(0, i, num_sampled=n) for i, n in enumerate(lengths)])

    ranks = rows_of_ranks(step, lineage=1, batch_hash="h", world_size=2)

    assert sorted(rows.sample_index.tolist() for rows in ranks) == [[0], [1, 2, 3, 4]]


def test_a_rank_gets_the_arrays_of_its_samples_in_order() -> None:
    samples = [a_journal_sample(0, i, num_sampled=i + 1, prompt_length=2) for i in range(4)]

    for rows in rows_of_ranks(a_journal_step(samples), lineage=1, batch_hash="h", world_size=2):
        mine = [samples[index] for index in rows.sample_index]
        assert rows.token_ids.tolist() == [token for sample in mine for token in sample.token_ids]
        assert rows.loss_mask.tolist() == [bit for sample in mine for bit in sample.loss_mask]
        assert rows.rollout_logprobs.tolist() == [value for sample in mine for value in sample.rollout_logprobs]
        assert rows.lengths.tolist() == [len(sample.token_ids) for sample in mine]


def test_more_ranks_than_samples_leave_some_without_work() -> None:
    ranks = rows_of_ranks(a_journal_step(samples_of(1)), lineage=1, batch_hash="h", world_size=3)

    assert [len(rows.lengths) for rows in ranks] == [1, 0, 0]


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=24),
    world_size=st.integers(1, 4),
    prompts=st.integers(1, 4),
)
def test_every_sample_has_one_owner_and_loads_are_balanced(lengths, world_size, prompts) -> None:
    samples = [a_journal_sample(i // 2, i % 2, num_sampled=n) for i, n in enumerate(lengths)]
    step = a_journal_step(samples, *mini_batch_ends(places(samples), prompts_per_mini_batch=prompts))

    ranks = rows_of_ranks(step, lineage=1, batch_hash="h", world_size=world_size)

    owned = np.concatenate([rows.sample_index for rows in ranks])
    assert sorted(owned.tolist()) == list(range(len(samples)))
    for cut in range(len(step.mini_batch_ends)):
        loads = [int(rows.lengths[rows.mini_batch == cut].sum()) for rows in ranks]
        longest = max(int(rows.lengths[rows.mini_batch == cut].max(initial=0)) for rows in ranks)
        assert max(loads) - min(loads) <= longest


@given(prompts=st.integers(1, 5), num_groups=st.integers(1, 7))
def test_the_cut_of_a_sample_is_that_of_its_prompt(prompts: int, num_groups: int) -> None:
    samples = samples_of(*[2] * num_groups)
    step = a_journal_step(samples, *mini_batch_ends(places(samples), prompts_per_mini_batch=prompts))

    (rows,) = rows_of_ranks(step, lineage=1, batch_hash="h", world_size=1)

    assert rows.mini_batch.tolist() == [sample.draw // prompts for sample in samples]
