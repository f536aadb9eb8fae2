import pytest
from unit.learner.coordinator.loggers.logger_builders import a_row

from tetrad_learner.coordinator.loggers.markdown import escaped, markdown_table


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", "![x](http://e.vil/p.png)", "a | b", "**bold** `code`", "&lt;b&gt;", "# head", "\\|"],
)
def test_nothing_that_means_something_in_markdown_or_html_is_left(hostile: str) -> None:
    text = escaped(hostile)

    left = [character for character in text.replace("&#", "").replace(";", "") if not character.isalnum()]
    assert set(left) <= {" "}


def test_each_sample_is_one_row_whatever_lines_it_has() -> None:
    rows = [a_row(response="one\ntwo\r\nthree"), a_row(response="|\n|---|\n| x |")]

    lines = markdown_table(rows).split("\n")

    assert len(lines) == 2 + len(rows)
    assert all(line.count("|") == 7 for line in lines)
    assert "one<br>two<br>three" in lines[2]


def test_a_sample_without_a_trained_token_has_no_advantage() -> None:
    row = markdown_table([a_row(advantage=None)]).split("\n")[2]

    assert row.endswith("| 1.0000 | – |")
