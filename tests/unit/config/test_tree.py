"""Trees: merging, placing and removing by dotted key."""

from hypothesis import given
from hypothesis import strategies as st

from tetrad_config.section import DottedKey
from tetrad_config.tree import contains, leaves, lookup, merged, placed, without

NAMES = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(st.integers(), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8).filter(
    lambda tree: isinstance(tree, dict)
)
KEYS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: DottedKey(".".join(names)))


@given(TREES, KEYS, st.integers())
def test_what_is_placed_is_found(tree, key, value):
    assert lookup(placed(tree, key, value), key) == value


@given(TREES, KEYS)
def test_what_is_removed_is_gone(tree, key):
    assert not contains(without(tree, key), key)


@given(TREES, TREES)
def test_the_upper_tree_has_the_last_word(lower, upper):
    result = merged(lower, upper)

    assert all(lookup(result, key) == value for key, value in leaves(upper) if value != {})


@given(TREES)
def test_merging_with_nothing_changes_nothing(tree):
    assert merged(tree, {}) == merged({}, tree) == tree


def test_lists_and_null_replace_instead_of_merging():
    assert merged({"a": [1, 2], "b": {"c": 1}}, {"a": [3], "b": None}) == {"a": [3], "b": None}
