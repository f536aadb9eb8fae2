"""The journal of sealed steps: bit exact, whole or absent, verified."""

import subprocess
import sys

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrad_trajectories.errors import CorruptJournalError
from tetrad_trajectories.journal import (
    JournalSample,
    JournalStep,
    list_steps,
    places,
    prune,
    read_step,
    step_path,
    write_step,
)
from tetrad_trajectories.journal.step import ARRAYS
from tetrad_wire.messages.leases import FinishReason, Lane, SampleFinished, VersionSpan

SCALARS = [
    "draw",
    "index",
    "prompt_length",
    "finish_reason",
    "num_turns",
    "spans",
    "grader_version",
    "incarnation",
    "metrics",
    "response",
    "seconds",
]


def a_sample(draw=0, index=0, *, num_tokens=11, **changes):
    fields = {
        "draw": draw,
        "index": index,
        "prompt_length": 7,
        "finish_reason": FinishReason.STOP,
        "spans": (VersionSpan(3, 2), VersionSpan(4, 2)),
        "grader_version": "arithmetic-1",
        "incarnation": "ab12",
        "token_ids": np.arange(num_tokens, dtype=np.int32),
        "loss_mask": (np.arange(num_tokens) >= 7).astype(np.uint8),
        "rollout_logprobs": np.linspace(-1, 0, num_tokens, dtype=np.float32),
        "reward_positions": np.array([num_tokens - 1], np.int32),
        "reward_values": np.array([0.1], np.float32),
        "metrics": {"turns": 1.0, "share": 1 / 3},
        "response": "95 — ü",
        "seconds": 0.25,
    }
    return JournalSample(**{**fields, **changes})


def a_step(*samples, **changes):
    chosen = samples or tuple(a_sample(draw, index) for draw in range(2) for index in range(4))
    fields = {
        "run_id": "run-1",
        "step": 7,
        "lineage": 2,
        "samples": chosen,
        "mini_batch_ends": (len(chosen),),
        "events": ({"kind": "sealed", "step": 7, "slots": [[0, 0], [0, 1]]},),
    }
    return JournalStep(**{**fields, **changes})


def assert_same(left, right):
    for name in SCALARS:
        assert getattr(left, name) == getattr(right, name), name
    for name in ARRAYS:
        one, other = getattr(left, name), getattr(right, name)
        assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes()), name


@pytest.fixture(autouse=True)
def _quiet_sums():
    """Rewards of any bits, infinities among them, are summed for the query column."""
    with np.errstate(invalid="ignore", over="ignore"):
        yield


def arrays_of(dtype, size):
    width = np.dtype(dtype).itemsize
    return hnp.arrays(np.uint8, width * size).map(lambda raw: raw.view(dtype))


@st.composite
def samples(draw):
    num_tokens, num_rewards = draw(st.integers(0, 20)), draw(st.integers(0, 3))
    return a_sample(
        draw=draw(st.integers(0, 2**63 - 1)),
        index=draw(st.integers(0, 2**31 - 1)),
        finish_reason=draw(st.sampled_from(FinishReason)),
        spans=tuple(draw(st.lists(st.builds(VersionSpan, st.integers(0, 2**40), st.integers(1, 99)), max_size=3))),
        token_ids=draw(arrays_of(np.int32, num_tokens)),
        loss_mask=draw(arrays_of(np.uint8, num_tokens)),
        rollout_logprobs=draw(arrays_of(np.float32, num_tokens)),
        reward_positions=draw(arrays_of(np.int32, num_rewards)),
        reward_values=draw(arrays_of(np.float32, num_rewards)),
        metrics=draw(st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False), max_size=3)),
        response=draw(st.text(max_size=10)),
        seconds=draw(st.floats(allow_nan=False)),
    )


@settings(max_examples=60, deadline=None)
@given(chosen=st.lists(samples(), min_size=1, max_size=5))
def test_every_bit_comes_back(tmp_path_factory, chosen):
    path = tmp_path_factory.mktemp("journal") / "step.parquet"
    step = a_step(*chosen)

    step_hash = write_step(path, step)
    back = read_step(path)

    assert back.hash() == step_hash == step.hash()
    assert len(back.samples) == len(step.samples)
    for one, other in zip(step.samples, back.samples, strict=True):
        assert_same(one, other)


def test_identity_cuts_and_events_come_back(tmp_path):
    step = a_step(mini_batch_ends=(4, 8))

    write_step(tmp_path / "step.parquet", step)
    back = read_step(tmp_path / "step.parquet")

    assert (back.run_id, back.step, back.lineage) == ("run-1", 7, 2)
    assert back.mini_batch_ends == (4, 8)
    assert back.events == step.events


def test_multiplicities_come_back_and_are_refused_by_readers_that_know_none(tmp_path):
    step = a_step(multiplicities=(2, 1), mini_batch_ends=(8, 12))

    write_step(tmp_path / "step.parquet", step)
    back = read_step(tmp_path / "step.parquet")

    assert back.multiplicities == (2, 1)
    assert back.hash() == step.hash()
    assert [place.group for place in back.places] == [0] * 4 + [1] * 4 + [2] * 4
    header = pq.read_metadata(tmp_path / "step.parquet").metadata[b"tetrad.journal"]
    assert msgspec.json.decode(header)["format"] == 2


def test_a_step_without_copies_is_written_as_ever(tmp_path):
    write_step(tmp_path / "step.parquet", a_step())

    header = pq.read_metadata(tmp_path / "step.parquet").metadata[b"tetrad.journal"]
    assert msgspec.json.decode(header)["format"] == 1


def test_copies_lie_behind_the_groups_that_they_are_of():
    samples = [a_sample(draw, index) for draw in (3, 5, 8) for index in range(2)]

    laid = places(samples, (3, 1, 2))

    assert [(place.group, place.sample.draw, place.sample.index) for place in laid] == [
        *((0, 3, 0), (0, 3, 1), (1, 5, 0), (1, 5, 1), (2, 8, 0), (2, 8, 1)),
        *((3, 3, 0), (3, 3, 1), (4, 8, 0), (4, 8, 1)),
        *((5, 3, 0), (5, 3, 1)),
    ]


@pytest.mark.parametrize("multiplicities", [(1,), (1, 2, 3), (0, 2), (-1, 2)])
def test_multiplicities_that_do_not_fit_the_groups_are_refused(multiplicities):
    with pytest.raises(ValueError, match="must be 1 or more for each of 2 groups"):
        a_step(multiplicities=multiplicities)


def test_arrays_come_back_writable(tmp_path):
    write_step(tmp_path / "step.parquet", a_step())

    array = read_step(tmp_path / "step.parquet").samples[0].token_ids

    assert array.flags.writeable
    assert array.flags.c_contiguous


@pytest.mark.parametrize(
    "change",
    [
        {"step": 8},
        {"lineage": 3},
        {"run_id": "other"},
        {"mini_batch_ends": (1, 2)},
        {"multiplicities": (1,)},
        {"samples": (a_sample(), a_sample(index=2))},
        {"samples": (a_sample(index=1), a_sample())},
        {"samples": (a_sample(), a_sample(index=1, rollout_logprobs=np.full(11, -0.0, np.float32)))},
        {"samples": (a_sample(), a_sample(index=1, metrics={"turns": 2.0}))},
    ],
)
def test_the_hash_sees_every_change(change):
    before = {"samples": (a_sample(), a_sample(index=1)), "mini_batch_ends": (2,)}

    assert a_step(**before).hash() != a_step(**{**before, **change}).hash()


def test_moving_a_token_from_one_sample_to_the_next_changes_the_hash():
    def two(first, second):
        parts = [a_sample(index=i, num_tokens=n) for i, n in enumerate((first, second))]
        tokens = np.arange(first + second, dtype=np.int32)
        zeros = np.zeros(first + second, np.uint8)
        logprobs = zeros.astype(np.float32)
        cuts = ((0, first), (first, first + second))
        return a_step(
            *(
                a_sample(
                    index=part.index,
                    token_ids=tokens[start:end],
                    loss_mask=zeros[start:end],
                    rollout_logprobs=logprobs[start:end],
                )
                for part, (start, end) in zip(parts, cuts, strict=True)
            )
        )

    assert two(5, 6).hash() != two(6, 5).hash()


def test_events_are_not_part_of_the_hash():
    assert a_step(events=()).hash() == a_step().hash()


def test_a_finished_sample_leaves_the_secrets_of_its_lease_behind():
    kept = a_sample()
    finished = SampleFinished(
        token=9,
        nonce="secret",
        lane=Lane.TRAIN,
        **{name: getattr(kept, name) for name in (*SCALARS, *ARRAYS)},
    )

    assert_same(JournalSample.of(finished), kept)
    assert not hasattr(JournalSample.of(finished), "nonce")


def test_the_reward_can_be_queried_without_reading_lists(tmp_path):
    sample = a_sample(reward_positions=np.array([8, 10], np.int32), reward_values=np.array([0.5, 0.25], np.float32))
    write_step(tmp_path / "step.parquet", a_step(sample))

    assert pq.read_table(tmp_path / "step.parquet", columns=["reward"])["reward"].to_pylist() == [0.75]
    assert sample.reward == 0.75


@pytest.mark.parametrize("events", [(), ({"kind": "sealed", "text": 'ü " \\ \n', "numbers": [1, 0.1, None, True]},)])
def test_events_come_back_as_they_were(tmp_path, events):
    write_step(tmp_path / "step.parquet", a_step(events=events))

    assert read_step(tmp_path / "step.parquet").events == events


def test_a_step_is_written_over_one_that_was_never_committed(tmp_path):
    path = tmp_path / "step.parquet"
    write_step(path, a_step(lineage=0))

    write_step(path, a_step(lineage=1))

    assert read_step(path).lineage == 1
    assert [file.name for file in tmp_path.iterdir()] == ["step.parquet"]


def test_no_damaged_byte_changes_a_step_unnoticed(tmp_path):
    path = tmp_path / "step.parquet"
    intact = a_step(a_sample())
    write_step(path, intact)
    whole = path.read_bytes()
    unnoticed = []

    for position in range(0, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            step = read_step(path)
        except CorruptJournalError:
            continue
        if step.hash() != intact.hash() or step.events != intact.events:
            unnoticed.append(position)

    assert unnoticed == []


@pytest.mark.parametrize("keep", [0, 10, 100, -1])
def test_a_cut_off_file_is_corrupt(tmp_path, keep):
    path = tmp_path / "step.parquet"
    write_step(path, a_step())
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(CorruptJournalError, match=r"journal .*step\.parquet: unreadable"):
        read_step(path)


def test_a_parquet_file_that_is_no_journal_is_corrupt(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "step.parquet")

    with pytest.raises(CorruptJournalError, match="unreadable"):
        read_step(tmp_path / "step.parquet")


def test_a_missing_file_is_missing_not_corrupt(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_step(tmp_path / "step.parquet")


def test_a_killed_writer_leaves_no_half_file(tmp_path):
    path = tmp_path / "step.parquet"
    write_step(path, a_step())
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        for _ in range(20):
            assert writer.stdout.readline() == b"written\n"

        writer.kill()

    assert read_step(path).step == 7


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from tetrad_trajectories.journal import read_step, write_step

path = Path(sys.argv[1])
step = read_step(path)
while True:
    write_step(path, step)
    print("written", flush=True)
"""


@pytest.mark.parametrize("ends", [(), (0, 8), (4, 4, 8), (4,), (4, 9), (-1, 8)])
def test_impossible_cuts_are_refused(ends):
    with pytest.raises(ValueError, match=r"step 7: mini-batch ends .* to 8"):
        a_step(mini_batch_ends=ends)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"token_ids": np.arange(11)}, "token_ids must be int32"),
        ({"loss_mask": np.zeros((11, 1), np.uint8)}, "loss_mask must be uint8"),
        ({"loss_mask": np.zeros(10, np.uint8)}, "11 tokens, 10 in loss_mask"),
        ({"rollout_logprobs": np.zeros(12, np.float32)}, "12 log-probs"),
        ({"reward_values": np.zeros(2, np.float32)}, "1 reward positions, 2 rewards"),
    ],
)
def test_a_misaligned_sample_is_refused_by_name(change, complaint):
    with pytest.raises(ValueError, match=f"sample 2 of draw 5: .*{complaint}"):
        a_sample(draw=5, index=2, **change)


def test_steps_are_listed_in_order_and_pruned_to_the_oldest_checkpoint(tmp_path):
    for step in (3, 1, 10, 2):
        write_step(step_path(tmp_path, step), a_step(step=step))
    (tmp_path / ".step_00000004.parquet.aa.tmp").write_text("half")
    (tmp_path / "notes.txt").write_text("mine")

    removed = prune(tmp_path, oldest_step=3)

    assert removed == [1, 2]
    assert list_steps(tmp_path) == [3, 10]
    assert (tmp_path / "notes.txt").exists()


def test_a_missing_folder_has_no_steps(tmp_path):
    assert list_steps(tmp_path / "absent") == []
    assert prune(tmp_path / "absent", oldest_step=5) == []
