"""The list of examples names all of them."""

import re

from examples.readme import EXAMPLES


def test_the_list_of_examples_is_complete():
    listed = re.findall(r"\]\(([\w-]+)/README\.md\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))

    assert sorted(listed) == sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))
