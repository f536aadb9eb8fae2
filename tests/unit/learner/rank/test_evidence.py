"""The dump of a poisoned step is what was executed, bit for bit, or is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from tetrad_learner.rank.evidence import MAX_NAMED, EvidenceError, read_evidence, write_evidence
from tetrad_testing.builders import a_step


def test_what_was_dumped_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    logprobs = np.resize(np.array([0.0, -1.5, np.nan, -0.0], np.float32), len(a_step().token_ids))
    order = a_step(step=7, rollout_logprobs=logprobs)
    folder = write_evidence(tmp_path, order, rank=0, error="loss is nan", strange=["gradient of lm_head.weight"])

    evidence = read_evidence(folder)

    assert (folder.name, evidence.step, evidence.error) == ("step_7", 7, "loss is nan")
    assert evidence.strange == ("gradient of lm_head.weight",)
    (found,) = evidence.orders
    for name in order.__struct_fields__:
        expected, value = getattr(order, name), getattr(found, name)
        if isinstance(expected, np.ndarray):
            assert (value.dtype, value.tobytes()) == (expected.dtype, expected.tobytes()), name
        else:
            assert value == expected, name


def test_every_rank_has_its_part(tmp_path: Path) -> None:
    for rank in (1, 0):
        order = a_step(sample_index=np.full(len(a_step().lengths), 0, np.int32))
        folder = write_evidence(tmp_path, order, rank=rank, error=f"by {rank}", strange=[f"weight {rank}"])

    evidence = read_evidence(folder)

    assert len(evidence.orders) == 2
    assert (evidence.error, evidence.strange) == ("by 0", ("weight 0", "weight 1"))


def test_a_nan_that_is_everywhere_is_named_so_often_and_no_more(tmp_path: Path) -> None:
    folder = write_evidence(tmp_path, a_step(), rank=0, error="", strange=[f"weight {n}" for n in range(1000)])

    assert len(read_evidence(folder).strange) == MAX_NAMED


def test_the_dump_of_a_missing_rank_is_missed(tmp_path: Path) -> None:
    folder = write_evidence(tmp_path, a_step(), rank=1, error="", strange=[])

    with pytest.raises(EvidenceError, match=r"holds ranks \[1\]; the dump of every rank is needed"):
        read_evidence(folder)


def test_a_folder_that_is_no_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"name the folder of a poisoned step"):
        read_evidence(tmp_path)


def test_a_damaged_dump_is_refused(tmp_path: Path) -> None:
    folder = write_evidence(tmp_path, a_step(), rank=0, error="", strange=[])
    (folder / "rank_0.json").write_text(json.dumps({"error": ""}))

    with pytest.raises(EvidenceError, match="cannot be read"):
        read_evidence(folder)
