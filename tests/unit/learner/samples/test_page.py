import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
from unit.learner.samples.samples_builders import HOSTILE, a_group, a_written_sample, write_journal

from tetrad_learner.samples.page import render
from tetrad_learner.samples.selection import select
from tetrad_learner.samples.token_texts import TokenTexts
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.leases import FinishReason, VersionSpan


class Words:
    """Decodes from a list, as a tokenizer does from its vocabulary."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def decode(self, ids, *, skip_special_tokens):
        return "".join(self._words[token] for token in ids)


class Elements(HTMLParser):
    """What a browser makes of a page: every element, and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def a_page(tmp_path, samples, *, words=("<bos>", "2", "+", "3", "="), run="demo") -> str:
    journal = write_journal(tmp_path / "journal", {3: samples})
    return render(select(journal, steps=None, limit=100), TokenTexts(Words(*words)), run=run)


def data_of(page: str) -> dict:
    return json.loads(Elements(page).scripts[0])


def test_a_sample_has_what_its_tokens_have(tmp_path) -> None:
    sample = a_written_sample(
        5,
        1,
        ids=(0, 1, 2, 3, 4),
        rollout_logprobs=np.array([0, 0, -0.123456, -2.0, 0], np.float32),
        loss_mask=np.array([0, 0, 1, 1, 0], np.uint8),
        finish_reason=FinishReason.LENGTH,
        spans=(VersionSpan(PolicyVersion(7), 1), VersionSpan(PolicyVersion(8), 1)),
        metrics={"format": 1.0},
    )

    data = data_of(a_page(tmp_path, [sample]))

    (step,) = data["steps"]
    (group,) = step["groups"]
    (found,) = group["samples"]
    assert (data["run"], step["step"], group["draw"], found["index"]) == ("demo", 3, 5, 1)
    assert found["texts"] == ["<bos>", "2", "+", "3", "="]
    assert found["ids"] == [0, 1, 2, 3, 4]
    assert found["mask"] == "00110"
    assert found["logprobs"] == [0.0, 0.0, -0.1235, -2.0, 0.0]
    assert found["versions"] == [[7, 1], [8, 1]]
    assert (found["reward"], found["finish"], found["rewards"]) == (1.0, "length", [[4, 1.0]])
    assert found["metrics"] == {"format": 1.0}


def test_hostile_text_makes_no_element_and_is_shown_as_it_is(tmp_path) -> None:
    harmless = Elements(a_page(tmp_path / "a", a_group(1), words=["a"] * 5))

    page = a_page(tmp_path / "b", a_group(1), words=[HOSTILE] * 5, run=HOSTILE)

    hostile = Elements(page)
    assert [tag for tag, _attributes in hostile.tags] == [tag for tag, _attributes in harmless.tags]
    assert data_of(page)["steps"][0]["groups"][0]["samples"][0]["texts"] == [HOSTILE] * 4


def test_the_page_loads_nothing_and_may_run_its_own_script_only(tmp_path) -> None:
    page = Elements(a_page(tmp_path, a_group(1)))

    (policy,) = [attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes]
    allowed = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    assert not [attributes for _tag, attributes in page.tags if {"src", "href"} & attributes.keys()]


def test_the_script_makes_text_of_everything_that_anybody_wrote(tmp_path) -> None:
    script = Elements(a_page(tmp_path, a_group(1))).scripts[1]

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", script)


def test_numbers_that_are_not_finite_are_shown_as_missing(tmp_path) -> None:
    logprobs = np.array([0, 0, -np.inf, np.nan], np.float32)
    sample = a_written_sample(1, 0, ids=(1, 1, 1, 1), rollout_logprobs=logprobs, metrics={"x": float("nan")})

    (found,) = data_of(a_page(tmp_path, [sample]))["steps"][0]["groups"][0]["samples"]

    assert found["logprobs"] == [0.0, 0.0, None, None]
    assert found["metrics"] == {}
