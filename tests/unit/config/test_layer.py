"""Layers: who had the last word on a value."""

from tetrad_config.layer import Layer, Origin, OriginKind, stacked

FILE, COMMAND = Origin(OriginKind.FILE, "a.yaml"), Origin(OriginKind.COMMAND_LINE)


def test_a_value_belongs_to_the_layer_that_set_it_last():
    stack = stacked([Layer(origin=FILE, tree={"a": {"b": 1, "c": 2}}), Layer(origin=COMMAND, tree={"a": {"b": 3}})])

    assert stack.tree == {"a": {"b": 3, "c": 2}}
    assert stack.origins == {"a.b": COMMAND, "a.c": FILE}


def test_a_section_replaced_by_null_takes_its_origins_along():
    stack = stacked([Layer(origin=FILE, tree={"a": {"b": 1}}), Layer(origin=COMMAND, tree={"a": None})])

    assert stack.origins == {"a": COMMAND}


def test_a_deleted_key_has_no_origin():
    stack = stacked([Layer(origin=FILE, tree={"a": {"b": 1, "c": 2}}), Layer(origin=COMMAND, deleted=("a.b",))])

    assert stack.tree == {"a": {"c": 2}}
    assert stack.origins == {"a.c": FILE}
