"""The threat model's page: what it says is tried is a test, and `make test-security` runs it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "threat-model.md").read_text()
LIVE = ("test_live_services.py", "test_said_again.py")


def test_each_attack_names_tests_that_are_there_and_that_the_target_runs():
    table = PAGE.partition("| attack |")[2].partition("\n\n")[0]
    rows = [row.strip("|").split("|")[2] for row in table.splitlines()[2:]]
    target = (ROOT / "Makefile").read_text().partition("\ntest-security:")[2].partition("\n\n")[0]
    names = re.findall(r"def (test_\w+)", "".join((ROOT / "tests" / "security" / one).read_text() for one in LIVE))
    words = [word for row in rows for word in re.findall(r"`([^`]+)`", row)]
    files = [word for word in words if word.endswith(".py")]

    assert len(rows) > 15
    assert all(re.search("`", row) for row in rows)
    assert [word for word in words if word not in files and not any(word in name for name in names)] == []
    assert [file for file in files if not (ROOT / "tests" / file).is_file()] == []
    assert [file for file in files if not file.startswith("security/") and f"tests/{file}" not in target] == []
